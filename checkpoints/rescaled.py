"""What weights lose whose codes are made anew as they are read, fp8 e5m2 as e4m3: measured layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from .encodings import channel

# a share that is not told in figures
LEAST = 1e-6
AS_IT_WAS = "no weight is changed by it"
CHANGED = "the weights are {} off those of the file by it (measured)"


@dataclass
class Rescaled:
    """`squares`: key of the codes of each layer that was read -> (sum of squared errors, sum of squared weights)."""

    squares: dict[str, tuple[float, float]] = field(default_factory=dict)

    def measure(self, key: str, stored: Mapping[str, torch.Tensor], read: Mapping[str, torch.Tensor]) -> None:
        """stored: the layer's tensors as the file has them, by role; read: its codes and scale as they were made."""
        codes = stored["codes"].float()
        scale = channel.unpack({"scale": torch.ones(1), **stored}, tuple(codes.shape))["scale"]
        before = codes.mul_(scale)
        error = (read["codes"].float() * read["scale"]).sub_(before)
        self.squares[key] = float(error.norm()) ** 2, float(before.norm()) ** 2

    def notes(self) -> list[str]:
        """One line on all that was measured, none if nothing was."""
        if not self.squares:
            return []
        errors, weights = (math.fsum(values) for values in zip(*self.squares.values(), strict=True))
        share = math.sqrt(errors / weights) if weights else 0.0
        size = f"{100 * share:.2g} %" if share >= LEAST else f"less than {100 * LEAST:.4f} %"
        words = AS_IT_WAS if not errors else CHANGED.format(size)
        return [f"{len(self.squares)} layers were made e4m3 of e5m2: {words}"]
