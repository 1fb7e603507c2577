"""Factors per input channel: SmoothQuant's (Xiao et al. 2022, equation 4), from the largest activation and weight of
each, and AWQ's (Lin et al. 2023, section 3.2), from the size of the activations."""

from collections.abc import Iterable

import torch

# that of LightX2V's and LightCompress' recipes for video models
DEFAULT_ALPHA = 0.75
# maxima are clamped from below to this share of the largest one
FLOOR = 1e-4
# the smallest scale that a token can have (kernels/activation.py)
SMALLEST = 1e-30


def smoothing_factor(activations: torch.Tensor, weights: torch.Tensor, alpha: float) -> torch.Tensor:
    """activations, weights: float [K], the absolute maxima of each input channel -> pre_quant_scale, float32 [K]:
    1 / s with s = activations ** alpha / weights ** (1 - alpha).

    Normalised so that the largest factor is 1 and no activation overflows its dtype; token and row scales absorb the
    common factor. A channel without activations gets the geometric mean of the others. A channel whose weights are all
    zero gets the smallest factor, which removes its outliers and is exact. Values are rounded to bfloat16, so that
    runtimes which store them so use the same.
    """
    seen = (activations > 0) & (weights > 0)
    if not bool(seen.any()):
        return torch.ones(activations.shape, dtype=torch.float32, device=activations.device)
    log_s = alpha * _log(activations, seen) - (1 - alpha) * _log(weights, seen)
    unseen = torch.where(activations > 0, log_s[seen].max(), log_s[seen].mean())
    log_s = torch.where(seen, log_s, unseen)
    return torch.exp(log_s.min() - log_s).to(torch.bfloat16).to(torch.float32)


def awq_factor(deviations: torch.Tensor, alpha: float) -> torch.Tensor:
    """deviations: float [K], the root mean square of each input channel -> pre_quant_scale, float32 [K]: 1 / s with
    s = deviations ** alpha, normalised as AWQ's code does it: the largest times the smallest s is 1. A channel without
    activations gets the largest factor. Values are rounded to bfloat16, as `smoothing_factor`'s."""
    seen = deviations > 0
    if not bool(seen.any()):
        return torch.ones(deviations.shape, dtype=torch.float32, device=deviations.device)
    log_s = alpha * _log(deviations, seen)
    return torch.exp((log_s.max() + log_s.min()) / 2 - log_s).to(torch.bfloat16).to(torch.float32)


def _log(maxima: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    values = maxima.to(torch.float32)
    return values.clamp(min=max(FLOOR * float(values[seen].max()), SMALLEST)).log()


def column_maxima(weights: Iterable[torch.Tensor]) -> torch.Tensor:
    """Weights [N, K] of layers with the same input -> float32 [K], the largest |weight| of each input channel."""
    # two reads without the copy that abs() would make
    maxima = [torch.maximum(weight.amax(dim=0), -weight.amin(dim=0)).to(torch.float32) for weight in weights]
    return torch.stack(maxima).amax(dim=0)
