"""The values that a weight of a format can have: what rounding by error (rounding/) has to know of the format.

All values are float32, in the basis of the codes: after smoothing and rotation.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from .layout import scale_for

Tensors = dict[str, torch.Tensor]


def integers(values: torch.Tensor) -> torch.Tensor:
    """The nearest integers, half to even; overwrites `values`."""
    return values.round_()


def e4m3(values: torch.Tensor) -> torch.Tensor:
    """The nearest values of float8 e4m3fn, for values within +-448."""
    return values.to(torch.float8_e4m3fn).to(torch.float32)


def e2m1(values: torch.Tensor) -> torch.Tensor:
    """The nearest values of the 4-bit float e2m1 (0, 0.5, 1, 1.5, 2, 3, 4, 6), half to even, for values within +-6."""
    size = values.abs()
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return (values / step).round_().mul_(step)


def unlimited(scale: torch.Tensor, whole: torch.Tensor | None) -> torch.Tensor:
    """`storable` of a format with float32 scales."""
    return scale


@dataclass(frozen=True)
class Grid:
    """Codes times a scale that some of them share.

    rows, columns: how many share one; None: all of them. largest: the largest code. nearest: values in units of the
    scale -> their codes, both float32, which may overwrite. storable: (scale, the scale of the whole weight or None) ->
    the nearest scale that the format can have. tensors: (codes [N, K], scale, whole) -> the tensors of the format.
    whole: the largest |value| [] -> a scale of the whole weight [], if the format has one. factors: multiples of the
    largest |value| / `largest` that a search tries as scales; none where a search does not help. lowest: the lowest
    code, if that is not -largest: a scale may then be negative. copies: float32 copies of values that there are at
    most while their scales or codes are looked for. per_value: float32 numbers of `spread` for each value.
    """

    rows: int | None
    columns: int | None
    largest: float
    nearest: Callable[[torch.Tensor], torch.Tensor]
    tensors: Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], Tensors]
    storable: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor] = unlimited
    whole: Callable[[torch.Tensor], torch.Tensor] | None = None
    factors: tuple[float, ...] = ()
    lowest: float | None = None
    copies: int = 7
    per_value: int = 1

    def absmax(self, values: torch.Tensor, whole: torch.Tensor | None = None) -> torch.Tensor:
        """values [N, K] -> scale [blocks of rows, blocks of columns], the smallest that clips nothing. whole: of the
        whole weight, where `values` are some of its rows."""
        return self.storable(scale_for(self._blocks(values.abs()).amax(dim=(1, 3)), self.largest), whole)

    def searched(
        self, values: torch.Tensor, whole: torch.Tensor | None = None, importance: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As `absmax`; of the scales that `factors` gives, the one with the smallest squared error in each block.
        importance: [K], what each column's squared error is multiplied by."""
        amax = scale_for(self._blocks(values.abs()).amax(dim=(1, 3)), self.largest)
        best, least = self.storable(amax, whole), None
        for candidate in self._candidates(values, amax):
            scale = self.storable(candidate, whole)
            error = self._squared_error(values, scale, importance)
            if least is None:
                best, least = scale, error
                continue
            better = error < least
            best, least = torch.where(better, scale, best), torch.where(better, error, least)
        return best

    def of_whole(self, values: torch.Tensor) -> torch.Tensor | None:
        """What all rows of values [N, K] have in common: the scale of the whole weight, None if there is none."""
        return None if self.whole is None else self.whole(torch.maximum(values.amax(), -values.amin()))

    def sampled(self, values: int) -> int:
        """float32 numbers that `of_whole` makes of a weight of so many values."""
        return 0

    def some(self, scale: torch.Tensor, start: int, stop: int) -> torch.Tensor:
        """The scales of rows `start` to `stop`, where `start` is a multiple of `rows`."""
        return scale if self.rows is None else scale[start // self.rows : -(-stop // self.rows)]

    def joined(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        """The scales of neighbouring rows as those of all of them."""
        return torch.cat(list(scales))

    def spread(self, scale: torch.Tensor, count: int, columns: torch.Tensor) -> torch.Tensor:
        """The scales of `columns` (indices, [n]) in a weight of `count` rows: [n, count], columns first."""
        blocks = torch.zeros_like(columns) if self.columns is None else columns // self.columns
        chosen = scale.t()[blocks]
        if self.rows is None or self.rows > 1:
            chosen = chosen.repeat_interleave(count if self.rows is None else self.rows, dim=1)[:, :count]
        return chosen.contiguous()

    def rounded(self, values: torch.Tensor, spread: torch.Tensor) -> torch.Tensor:
        """values -> the nearest values of the grid; spread: broadcasts to them."""
        lowest = -self.largest if self.lowest is None else self.lowest
        return self.nearest((values / spread).clamp_(lowest, self.largest)) * spread

    def encode(self, values: torch.Tensor, scale: torch.Tensor, whole: torch.Tensor | None = None) -> Tensors:
        """values [N, K] -> the tensors of the format; exact for values of the grid."""
        lowest = -self.largest if self.lowest is None else self.lowest
        codes = self.nearest((values / self._all(scale, values)).clamp_(lowest, self.largest))
        return self.tensors(codes, scale, whole)

    def _all(self, scale: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """[N, K], or what broadcasts to it."""
        count, width = values.shape
        if self.columns is not None:
            scale = scale.repeat_interleave(self.columns, dim=1)[:, :width]
        return scale if self.rows in (None, 1) else scale.repeat_interleave(self.rows, dim=0)[:count]

    def _candidates(self, values: torch.Tensor, amax: torch.Tensor):
        for factor in self.factors or (1.0,):
            yield amax * factor
        if self.lowest is None or not self.factors:
            return
        # the value farthest from zero becomes the lowest code, one step farther out than the largest
        blocks = self._blocks(values)
        negative = -blocks.amin(dim=(1, 3)) >= blocks.amax(dim=(1, 3))
        signed = torch.where(negative, amax, -amax) * (self.largest / -self.lowest)
        for factor in self.factors:
            yield signed * factor

    def _squared_error(self, values, scale, importance):
        error = self.rounded(values, self._all(scale, values)).sub_(values).square_()
        return self._blocks(error if importance is None else error.mul_(importance)).sum(dim=(1, 3))

    def _blocks(self, values: torch.Tensor) -> torch.Tensor:
        """[N, K] -> [blocks of rows, rows, blocks of columns, columns], tails filled with zeros."""
        count, width = values.shape
        rows, columns = self.rows or count, self.columns or width
        below, beside = -count % rows, -width % columns
        if below or beside:
            values = torch.nn.functional.pad(values, (0, beside, 0, below))
        return values.reshape((count + below) // rows, rows, (width + beside) // columns, columns)
