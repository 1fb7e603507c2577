"""What quantizing a layer costs: the error of its output, for activations drawn from what calibration has seen."""

import torch

from ..formats import FORMATS
from ..kernels.reference import reference

TOKENS = 128
# rows of a weight that stand for all: every row has a scale of its own
ROWS = 256


def drawn_activations(
    maxima: torch.Tensor, deviations: torch.Tensor, tokens: int = TOKENS, seed: int = 0
) -> torch.Tensor:
    """maxima and deviations float32 [K], the largest value and the root mean square of each channel -> float32
    [tokens, K]: each channel normal, cut off at its maximum; the same for the same seed."""
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
    """weight float32 [N, K] quantized as `format_name`, x float32 [M, K] as its kernels quantize activations -> the
    squared norms of the output's error and of the output. pre_quant_scale [K]: for a smoothed format."""
    options = {} if pre_quant_scale is None else {"pre_quant_scale": pre_quant_scale}
    row = FORMATS[format_name]
    held = row.quantize(weight, torch.float32, **options)
    expected = x @ weight.t()
    y = reference(x, format_name, held._qdata, held._params, None, row.activation)
    return float((y - expected).square().sum()), float(expected.square().sum())
