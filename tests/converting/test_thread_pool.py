"""Work in several threads, each of which computes alone."""

import threading

import pytest
import torch

from x2v_quant.converting.thread_pool import ThreadPool


def test_results_come_in_order():
    with ThreadPool() as workers:
        assert list(workers.map(lambda item: item * item, range(100))) == [item * item for item in range(100)]


def test_each_worker_computes_alone_and_nobody_else():
    before = torch.get_num_threads()
    with ThreadPool() as workers:
        assert set(workers.map(lambda _: torch.get_num_threads(), range(50))) == {1}
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert [torch.get_num_threads(), *later] == [before, before]


@pytest.mark.parametrize("inference", [True, False])
def test_workers_are_in_the_mode_of_who_asks(inference):
    with torch.inference_mode(inference), ThreadPool() as workers:
        assert set(workers.map(lambda _: torch.is_inference_mode_enabled(), range(10))) == {inference}


def test_an_error_comes_out_at_its_turn():
    done = []

    def work(item):
        if item == 5:
            raise ValueError("item 5")
        return item

    with pytest.raises(ValueError, match="item 5"), ThreadPool() as workers:
        for item in workers.map(work, range(100)):
            done.append(item)
    assert done == [0, 1, 2, 3, 4]


def test_only_a_few_are_begun_before_their_turn():
    begun = []
    with ThreadPool() as workers:
        results = workers.map(lambda item: begun.append(item), range(1000))
        next(results)
        ahead = len(begun)
        results.close()
    assert ahead <= 2 * torch.get_num_threads() + 1
