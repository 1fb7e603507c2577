"""A synthetic layer as wide as those of real models, with inputs like theirs."""

from dataclasses import dataclass

import torch

from ...calibration.strength import FORMULAS, find_smoothing
from ...formats.format import Format
from ...formats.int8_convrot import rotated
from ...rounding import LayerInputs
from ...rounding.curvature import Curvatures

# formats scale rows or blocks of them on their own, so that a few say as much as all of a real layer's
ROWS = 256
# what is recorded of the input, and what the output is compared on
TOKENS, JUDGED = 4096, 256
# channels of an input that are so much larger than the others, as text to video models have them
LOUD, LOUDEST, QUIETEST = 0.01, 50.0, 20.0
GROUP, ROUNDS = 256, 3
SEED = 0
OUTLIERS = "5120 wide, outliers"


@dataclass(frozen=True)
class Width:
    """`columns`: K; `outliers`: whether a few input channels are much larger than the others."""

    name: str
    columns: int
    outliers: bool = False


WIDTHS = (
    Width("1536 wide", 1536),
    Width("5120 wide", 5120),
    Width(OUTLIERS, 5120, outliers=True),
)


class Layer:
    """A synthetic layer of a Width. `weight`: float32 [ROWS, K], normally distributed; `x`: float32 [JUDGED, K], what
    it is judged on; `true`: float32 [JUDGED, ROWS], what it should give there; `inputs`: what was recorded before.
    Channels of the inputs go together, as real ones do: the variances of their principal components fall as 1 / i."""

    def __init__(self, width: Width):
        generator = torch.Generator().manual_seed(SEED)
        columns = width.columns
        self.weight = torch.randn((ROWS, columns), generator=generator)
        tokens = torch.randn((TOKENS + JUDGED, columns), generator=generator)
        tokens = _spread(tokens * torch.arange(1, columns + 1).rsqrt(), generator)
        tokens /= tokens.square().mean().sqrt()
        if width.outliers:
            loud = torch.randperm(columns, generator=generator)[: round(LOUD * columns)]
            tokens[:, loud] *= QUIETEST + (LOUDEST - QUIETEST) * torch.rand(len(loud), generator=generator)
        recorded, self.x = tokens[:TOKENS], tokens[TOKENS:]
        self.maxima = recorded.abs().amax(dim=0)
        self.inputs = LayerInputs(recorded, recorded.square().mean(dim=0), width.name)
        self.true = self.x @ self.weight.t()
        self._curvatures: dict[tuple, Curvatures] = {}

    def curvatures(self, row: Format) -> Curvatures:
        """Shared by formats with the same basis."""
        return self._curvatures.setdefault((row.rotation, row.smooth), Curvatures())

    def factor(self, format_name: str, formula: str) -> torch.Tensor:
        """float32 [K], what columns are divided by; ones where that does not pay. format_name: without smoothing;
        formula: of strength.FORMULAS."""
        seen = self.maxima, self.inputs.mean_squares.sqrt()
        found = find_smoothing([self.weight], *seen, format_name, FORMULAS[formula].alphas, formula).pre_quant_scale
        return torch.ones_like(self.maxima) if found is None else found


def _spread(components: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """float32 [T, K], K a multiple of GROUP -> the same times an orthogonal matrix that leaves none of its columns a
    few channels: rotations of groups, between which channels change places and signs."""
    columns = components.shape[1]
    for _ in range(ROUNDS):
        places = torch.randperm(columns, generator=generator)
        signs = torch.randint(0, 2, (columns,), generator=generator) * 2 - 1
        components = rotated(components, GROUP)[:, places] * signs
    return components
