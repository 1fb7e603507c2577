"""The grid of w4a8: every group of columns has 16 levels of its own, and every row a scale for all of them."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from .grid import Grid
from .lloyd_max import LEVELS, nearest, of_codes
from .w4a8_codes import GROUP, LARGEST, level_table, packed
from .w4a8_fit import SAMPLED, codebook_of_groups, sampled_rows, scales_of


class Scales(NamedTuple):
    """What `CodebookGrid` has as the scales of a weight: the tensors of w4a8 but for the codes (w4a8_codes.py)."""

    scale: torch.Tensor
    s_channel: torch.Tensor
    codebook: torch.Tensor


def _not_asked(*_):
    raise NotImplementedError("a codebook grid has levels, not codes in units of a scale")


@dataclass(frozen=True)
class CodebookGrid(Grid):
    """Scales are found by least squares, which is the search as well. `whole` of a weight: its codebook, float32 [16];
    None: the one that suits the values."""

    rows: int | None = 1
    columns: int | None = GROUP
    largest: float = LARGEST
    nearest: object = _not_asked
    tensors: object = _not_asked
    # codes are int64 while they are looked for
    copies: int = 14
    per_value: int = LEVELS

    def sampled(self, values):
        # the rows, rotated, and divided by the largest of each group
        return 4 * min(values, SAMPLED)

    def of_whole(self, values):
        rows = sampled_rows(*values.shape).to(values.device)
        return codebook_of_groups(values[rows].unflatten(1, (-1, GROUP)))

    def some(self, scale, start, stop):
        return Scales(scale.scale[start:stop], scale.s_channel[start:stop], scale.codebook)

    def joined(self, scales):
        *rows, codebooks = zip(*scales, strict=True)
        return Scales(*map(torch.cat, rows), codebooks[0])

    def absmax(self, values, whole=None):
        codebook = self.of_whole(values) if whole is None else whole
        return Scales(*scales_of(values.unflatten(1, (-1, GROUP)), codebook), codebook)

    def searched(self, values, whole=None, importance=None):
        return self.absmax(values, whole)

    def spread(self, scale, count, columns):
        """The levels of `columns`, float32 [n, count, 16]."""
        table = level_table(scale.scale.t()[columns // GROUP], scale.codebook)
        return table.mul_(scale.s_channel.view(1, -1, 1))

    def rounded(self, values, spread):
        rows, levels = values.reshape(-1, 1), spread.reshape(-1, LEVELS)
        return of_codes(levels, nearest(rows, levels)).view(values.shape)

    def encode(self, values, scale, whole=None):
        groups = (values / scale.s_channel.unsqueeze(1)).unflatten(1, (-1, GROUP)).flatten(0, 1)
        levels = level_table(scale.scale, scale.codebook).flatten(0, 1)
        return {"codes": packed(nearest(groups, levels).view(values.shape)), **scale._asdict()}
