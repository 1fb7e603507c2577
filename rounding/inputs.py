"""What was recorded of a layer's input, as rounding needs it."""

from dataclasses import dataclass

import torch

from .methods import MEANS, NOTHING, TOKENS


@dataclass(frozen=True)
class LayerInputs:
    """`tokens`: [T, K] float, distinct inputs, or None. `mean_squares`: float32 [K] of all inputs, or None. `key`:
    equal for layers that get the same input, whose curvature is computed once; None for a layer alone."""

    tokens: torch.Tensor | None = None
    mean_squares: torch.Tensor | None = None
    key: str | None = None

    @property
    def recorded(self) -> str:
        """One of methods.RECORDED."""
        if self.tokens is not None and len(self.tokens):
            return TOKENS
        return NOTHING if self.mean_squares is None else MEANS

    def importance(self) -> torch.Tensor | None:
        """float32 [K], the mean square of each channel."""
        if self.mean_squares is not None:
            return self.mean_squares
        return None if self.tokens is None else self.tokens.to(torch.float32).square().mean(dim=0)
