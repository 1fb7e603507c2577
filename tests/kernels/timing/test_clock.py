"""Competitors take turns."""

from types import SimpleNamespace

import pytest

from x2v_quant.kernels.timing import clock
from x2v_quant.kernels.timing.clock import Effort, Timing


class Clock:
    """Time that passes only when something runs."""

    def __init__(self, monkeypatch):
        self.now, self.order = 0.0, []
        monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def run(self, name, *seconds):
        left = list(seconds)

        def once():
            self.order.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return once


def test_rounds_take_turns_and_warm_up(monkeypatch):
    turns = Clock(monkeypatch)
    runs = {"a": turns.run("a", 100, 1, 2, 3, 4, 5), "b": turns.run("b", 100, 10)}
    found = clock.measure(runs, Effort(rounds=5, least=1, seconds=1e9), warmups=1)
    assert turns.order == ["b", "a", "a", "b"] * 3
    assert found["a"] == Timing(3, 2, 4, 5)
    assert found["b"] == Timing(10, 10, 10, 5)


@pytest.mark.parametrize("seconds,least,rounds", [(0, 3, 3), (4.5, 1, 5), (4.5, 7, 7), (1e9, 1, 9)])
def test_rounds_end_with_the_time_but_not_before_the_least(monkeypatch, seconds, least, rounds):
    turns = Clock(monkeypatch)
    found = clock.measure({"a": turns.run("a", 1)}, Effort(rounds=9, least=least, seconds=seconds), warmups=2)
    assert found["a"].rounds == rounds


def test_preparing_and_freeing_are_not_timed(monkeypatch):
    turns = Clock(monkeypatch)

    class Held:
        def __del__(self):
            turns.now += 50

    def run():
        turns.now += 1
        return Held()

    def prepare(name):
        turns.now += 1000
        turns.order.append(name)

    found = clock.measure({"a": run}, Effort(rounds=2, least=2), warmups=0, prepare=prepare)
    assert found["a"] == Timing(1, 1, 1, 2)
    assert turns.order == ["a", "a"]
