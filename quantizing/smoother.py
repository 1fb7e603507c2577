"""Smoothing factors for layers that are quantized in memory, from a calibration."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch

from ..calibration import ALPHAS, Calibration, find_smoothing
from ..formats import FORMATS, SMOOTHQUANT
from ..schemes.plan import Plan


@dataclass
class Smoother:
    """Finds the pre_quant_scale of layers (names in the diffusion model). `alpha`: SmoothQuant's; None searches the
    best one for each layer. `found`: layer -> its factor, None if smoothing is not worthwhile; cached, so that a model
    which core reloads gets the same weights. `smoothable`: layers whose factor the file can store, None for all."""

    calibration: Calibration
    alpha: float | None = None
    found: dict[str, torch.Tensor | None] = field(default_factory=dict)
    smoothable: Collection[str] | None = None

    def pre_quant_scale(self, layer: str, weight: torch.Tensor, format_name: str) -> torch.Tensor | None:
        """The factor float32 [K] for a weight float32 [N, K]; None if `format_name` is not smoothed, calibration did
        not call the layer, or smoothing does not reduce the error of its output."""
        if format_name not in SMOOTHQUANT or layer not in self.calibration.maxima:
            return None
        if layer not in self.found:
            alphas = ALPHAS if self.alpha is None else (self.alpha,)
            seen = self.calibration.maxima[layer], self.calibration.deviations(layer)
            factor = find_smoothing([weight], *seen, format_name, alphas).pre_quant_scale
            self.found[layer] = None if factor is None else factor.cpu()
        return self.found[layer]


def sentences(
    plan: Plan, layers: Collection[str], known: Collection[str], smoothable: Collection[str] | None = None
) -> list[str]:
    """Sentences for the report: how many of `layers` (names in the filled plan) are smoothed, and why others are not.
    None where no format of theirs can be smoothed. known: the layers in the calibration. smoothable: see Smoother."""
    smoothed, never, without, outside, others = [], [], [], [], {}
    for layer in layers:
        stored = FORMATS[plan.layers[layer].choice.format]
        if stored.smooth:
            smoothed.append(layer)
        elif stored.name not in SMOOTHQUANT:
            others.setdefault(stored.family, []).append(layer)
        elif smoothable is not None and layer not in smoothable:
            outside.append(layer)
        else:
            (without if layer in known else never).append(layer)
    if not (smoothed or never or without or outside):  # whoever chose such a format expects none
        return []
    lines = [f"{len(smoothed)} of {len(layers)} layers are smoothed."]
    if without:
        lines.append(f"{_count(without)} more exact without smoothing, {without[0]} for instance.")
    if never:
        lines.append(f"{_count(never)} not smoothed: never called during calibration, {never[0]} for instance.")
    if outside:
        lines.append(f"{_count(outside)} not smoothed: after none of LightX2V's norms, {outside[0]} for instance.")
    for name, affected in others.items():
        *first, last = sorted({FORMATS[name].family for name in SMOOTHQUANT})
        can = f"{', '.join(first)} and {last}"
        lines.append(f"{_count(affected)} not smoothed: {name} has no smoothing, only {can} have.")
    return lines


def _count(layers: Collection[str]) -> str:
    return "1 layer is" if len(layers) == 1 else f"{len(layers)} layers are"
