"""The grid of codes with zero points: every group of columns has a scale and the value of its middle code."""

from dataclasses import dataclass

import torch

from .grid import Grid
from .layout import SMALLEST_SCALE

# of the largest value of a group: a range that is narrower is lost when bfloat16 stores its middle
NARROWEST = 2.0**-8


@dataclass(frozen=True)
class ZeroPointGrid(Grid):
    """A Grid of codes `lowest` ... `largest` whose scales are [N, groups, 2]: the scale, and what code 0 is. `rows` is
    1, `columns` the size of a group, which divides the columns of every weight."""

    def absmax(self, values: torch.Tensor, whole: torch.Tensor | None = None) -> torch.Tensor:
        """values [N, K] -> from the least value of each group to its largest, both with a code."""
        return self._pair(*self._ends(values))

    def searched(
        self, values: torch.Tensor, whole: torch.Tensor | None = None, importance: torch.Tensor | None = None
    ) -> torch.Tensor:
        least, most = self._ends(values)
        best, smallest = self._pair(least, most), None
        for factor in self.factors:
            scale = self._pair(least * factor, most * factor)
            error = self.rounded(values, self._all(scale, values)).sub_(values).square_()
            error = error if importance is None else error.mul_(importance)
            error = error.unflatten(1, (-1, self.columns)).sum(dim=2)
            if smallest is None:
                best, smallest = scale, error
                continue
            better = error < smallest
            best = torch.where(better.unsqueeze(2), scale, best)
            smallest = torch.where(better, error, smallest)
        return best

    def spread(self, scale: torch.Tensor, count: int, columns: torch.Tensor) -> torch.Tensor:
        """[n, count, 2], columns first."""
        return scale.transpose(0, 1)[columns // self.columns].contiguous()

    def rounded(self, values: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        scale, zeros = spread.unbind(-1)
        return self._codes(values, scale, zeros) * scale + zeros

    def encode(self, values: torch.Tensor, scale: torch.Tensor, whole: torch.Tensor | None = None):
        return self.tensors(self._codes(values, *self._all(scale, values).unbind(-1)), scale, whole)

    def _codes(self, values, scale, zeros):
        return self.nearest(((values - zeros) / scale).clamp_(self.lowest, self.largest))

    def _ends(self, values):
        groups = values.unflatten(1, (-1, self.columns))
        return groups.amin(dim=2), groups.amax(dim=2)

    def _pair(self, least, most):
        """Rounded to what the format stores."""
        span = torch.maximum(most - least, torch.maximum(most, -least).mul_(NARROWEST))
        scale = self.storable((span / (self.largest - self.lowest)).clamp_(min=SMALLEST_SCALE), None)
        return torch.stack((scale, self.storable(least - self.lowest * scale, None)), dim=2)

    def _all(self, scale, values):
        return scale.repeat_interleave(self.columns, dim=1)
