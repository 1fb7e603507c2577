"""A layer as rounding finds it hard: inputs with outlier channels that depend on each other.

K of Wan 14B, or less; 1 % of the channels are 20 to 50 times as large as the others, and the variances of the inputs'
principal components fall as 1 / i.
"""

import functools
from dataclasses import dataclass

import torch

from x2v_quant.common.decibels import decibels
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.activation import SIMULATED
from x2v_quant.rounding import METHODS, LayerInputs, round_weight

SEED = 0


@dataclass(frozen=True)
class OutlierLayer:
    """`weight` float32 [N, K]; `tokens` [T, K] to go by, `others` [M, K] to judge by."""

    weight: torch.Tensor
    tokens: torch.Tensor
    others: torch.Tensor

    def tensors(self, format_name: str, method: str, factor: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        inputs = LayerInputs(tokens=self.tokens, mean_squares=self.tokens.square().mean(dim=0))
        return round_weight(self.weight, format_name, METHODS[method], inputs, factor)

    def snr(self, format_name: str, tensors: dict[str, torch.Tensor], activation: str | None = None) -> float:
        """dB of the outputs; activation: a name in SIMULATED, the format's own without one."""
        row, expected = FORMATS[format_name], self.others @ self.weight.t()
        values = row.wrap(tensors, torch.float32, tuple(self.weight.shape)).dequantize()
        x = SIMULATED[activation or row.activation](self.others, tensors)
        error = x @ values.t() - expected
        return decibels(float(expected.square().sum()), float(error.square().sum()))


@functools.cache
def outlier_layer(rows: int = 96, width: int = 2560, tokens: int = 2048) -> OutlierLayer:
    """Always the same; its figures are those of K 5120 to half a dB, in an eighth of the time."""
    generator = torch.Generator().manual_seed(SEED)
    weight = torch.randn((rows, width), generator=generator) * 0.02
    sizes = torch.ones(width)
    chosen = torch.randperm(width, generator=generator)[: width // 100]
    sizes[chosen] = torch.empty(len(chosen)).uniform_(20, 50, generator=generator)
    basis = torch.linalg.qr(torch.randn((width, width), generator=generator)).Q
    basis *= torch.arange(1, width + 1).rsqrt().unsqueeze(1)
    basis *= (width / basis.square().sum()).sqrt() * sizes

    def drawn(count: int) -> torch.Tensor:
        return torch.randn((count, width), generator=generator) @ basis

    return OutlierLayer(weight, drawn(tokens), drawn(256))
