"""What is sampled: scenes in a fixed order, each with its own noise."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...demo.scenes import HELD_OUT, SCENES, TRAINING, Scene

ORDER_SEED = 0
# one scene in six was never seen in training, here as among all scenes
HELD_OUT_EVERY = len(SCENES) // len(HELD_OUT)


@dataclass(frozen=True)
class Case:
    """One video: what the prompt says and the seed of the noise."""

    scene: Scene
    seed: int

    @property
    def held_out(self) -> bool:
        return self.scene in HELD_OUT


def pick(number: int) -> list[Case]:
    """The first `number` cases of an endless order: every sixth is held out, no scene comes a second time before all
    have been there once, and the seed is the place in the order."""
    training, held_out = _shuffled(TRAINING), _shuffled(HELD_OUT)
    cases = []
    for place in range(number):
        turn = place % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        cases.append(Case(next(held_out if turn else training), place))
    return cases


def _shuffled(scenes: Sequence[Scene]) -> Iterator[Scene]:
    shuffle = random.Random(ORDER_SEED)
    while True:
        yield from shuffle.sample(scenes, len(scenes))
