"""Chooses whether and how strongly (alpha) a layer is smoothed, by the error of its output."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from ..formats import SMOOTHED, SMOOTHQUANT
from .factor import awq_factor, column_maxima, smoothing_factor
from .output_error import drawn_activations, output_error, sample_rows

# the values that a search tries
ALPHAS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9)
# smoothing has to lower the error to this share or less; smaller gains are within the noise of drawn activations
WORTHWHILE = 0.95


@dataclass(frozen=True)
class Formula:
    """A way to a factor. `factor`: (maxima, deviations, columns, alpha) -> pre_quant_scale float32 [K]; columns: the
    largest |weight| of each. `alphas`: what a search tries. `formats`: those of SMOOTHED that it is for."""

    factor: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
    alphas: tuple[float, ...]
    formats: tuple[str, ...]


SMOOTHING, AWQ = "smoothquant", "awq"
FORMULAS = {
    SMOOTHING: Formula(lambda maxima, _, columns, alpha: smoothing_factor(maxima, columns, alpha), ALPHAS, SMOOTHQUANT),
    # of formats whose activations are not quantized
    AWQ: Formula(
        lambda _, deviations, __, alpha: awq_factor(deviations, alpha),
        tuple(step / 20 for step in range(1, 21)),
        tuple(name for name in SMOOTHED if name not in SMOOTHQUANT),
    ),
}


@dataclass(frozen=True)
class Smoothing:
    """`pre_quant_scale`: float32 [K]; None if smoothing is not worthwhile. `alpha`: the best one. `before`, `after`:
    relative error of the output without and with smoothing, for activations drawn from the calibration."""

    pre_quant_scale: torch.Tensor | None
    alpha: float
    before: float
    after: float


def find_smoothing(
    weights: Sequence[torch.Tensor],
    maxima: torch.Tensor,
    deviations: torch.Tensor,
    format_name: str,
    alphas: Sequence[float] = ALPHAS,
    formula: str = SMOOTHING,
) -> Smoothing:
    """The smoothing with the best of `alphas`, for layers that have the same input and share a factor. weights: float
    [N, K] each. maxima, deviations: float32 [K] of the input (see Calibration). format_name: a key of formats.SMOOTHED.
    formula: of FORMULAS. Computed in float32 on the weights' device."""
    maxima, deviations = (seen.to(weights[0].device, torch.float32) for seen in (maxima, deviations))
    x = drawn_activations(maxima, deviations)
    rows = [sample_rows(weight) for weight in weights]
    columns = column_maxima(weights)
    before = _error(rows, x, format_name)
    tried = []
    for alpha in alphas:
        factor = FORMULAS[formula].factor(maxima, deviations, columns, alpha)
        tried.append((_error(rows, x, SMOOTHED[format_name], factor), alpha, factor))
    after, alpha, factor = min(tried, key=lambda choice: choice[0])
    return Smoothing(factor if after <= WORTHWHILE * before else None, alpha, before, after)


def _error(rows, x, format_name, factor=None) -> float:
    """Relative error of the outputs of all layers taken together."""
    squares = [output_error(weight, x, format_name, factor) for weight in rows]
    error, size = (sum(part) for part in zip(*squares, strict=True))
    return (error / max(size, 1e-30)) ** 0.5
