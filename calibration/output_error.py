"""The output error of a quantized layer, for activations drawn from its calibration."""

import torch

from ..formats import FORMATS
from ..kernels.reference import reference

TOKENS = 128
# number of sampled rows of a weight; every row has its own scale
ROWS = 256


def drawn_activations(
    maxima: torch.Tensor, deviations: torch.Tensor, tokens: int = TOKENS, seed: int = 0
) -> torch.Tensor:
    """maxima, deviations: float32 [K], largest magnitude and root mean square of each channel -> float32 [tokens, K],
    normally distributed per channel and clamped to its maximum. Deterministic for a seed."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn((tokens, maxima.shape[0]), generator=generator).to(maxima.device) * deviations
    return torch.minimum(torch.maximum(values, -maxima), maxima)


def sample_rows(weight: torch.Tensor, rows: int = ROWS) -> torch.Tensor:
    """Evenly spaced rows of weight [N, K], float32."""
    count = weight.shape[0]
    chosen = torch.linspace(0, count - 1, min(rows, count), device=weight.device).round().to(torch.int64)
    return weight[chosen].to(torch.float32)


def output_error(
    weight: torch.Tensor, x: torch.Tensor, format_name: str, pre_quant_scale: torch.Tensor | None = None
) -> tuple[float, float]:
    """(squared norm of the output's error, squared norm of the output) of a layer quantized as `format_name`. weight:
    float32 [N, K]. x: float32 [M, K], quantized as the kernels do. pre_quant_scale: [K], for a smoothed format."""
    options = {} if pre_quant_scale is None else {"pre_quant_scale": pre_quant_scale}
    row = FORMATS[format_name]
    quantized = row.quantize(weight, torch.float32, **options)
    expected = x @ weight.t()
    y = reference(x, format_name, quantized._qdata, quantized._params, None, row.activation)
    return float((y - expected).square().sum()), float(expected.square().sum())
