"""Every kernel of a format that can be smoothed computes the smoothed one too: rows derived from its own."""

from collections.abc import Iterable
from dataclasses import replace

import torch

from ..formats import SMOOTHED
from .kernel import Kernel, Steps


@torch.library.custom_op("x2v_quant::smooth_activations", mutates_args=())
def smooth_activations(x: torch.Tensor, pre_quant_scale: torch.Tensor) -> torch.Tensor:
    """x [M, K] float, pre_quant_scale float32 [K] -> their product, multiplied in float32 and rounded once to x.dtype,
    in one pass without a float32 copy."""
    return torch.mul(x, pre_quant_scale, out=torch.empty(x.shape, dtype=x.dtype, device=x.device))


@smooth_activations.register_fake
def _(x, pre_quant_scale):
    return x.new_empty(x.shape)


def with_smooth(rows: Iterable[Kernel]) -> list[Kernel]:
    """The rows, each that computes a format of SMOOTHED followed by the one for its smoothed format. A file that has
    rows of its own for smoothed formats is left as it is."""
    rows = list(rows)
    if any(name in row.formats for row in rows for name in SMOOTHED.values()):
        return rows
    result = []
    for row in rows:
        result.append(row)
        formats = tuple(SMOOTHED[name] for name in row.formats if name in SMOOTHED)
        if formats:
            result.append(_smoothed(row, formats))
    return result


def _smoothed(row: Kernel, formats: tuple[str, ...]) -> Kernel:
    # a kernel that does not quantize x multiplies it with the weight itself, whatever it does inside
    activation = row.activation if row.activation == "float" else f"{row.activation}-smooth"
    if row.smooth_linear is not None:
        return replace(row, formats=formats, linear=row.smooth_linear, activation=activation, steps=row.smooth_steps)
    return replace(
        row, formats=formats, linear=_after_a_pass(row), activation=activation, steps=_steps_after_a_pass(row.steps)
    )


def _after_a_pass(row: Kernel):
    def linear(x, codes, params, bias):
        return row.linear(torch.ops.x2v_quant.smooth_activations(x, params.pre_quant_scale), codes, params, bias)

    return linear


def _steps_after_a_pass(steps: Steps | None) -> Steps | None:
    if steps is None:
        return None

    def quantize(x, params):
        return steps.quantize(torch.ops.x2v_quant.smooth_activations(x, params.pre_quant_scale), params)

    return Steps(quantize, steps.multiply, (*steps.reads, "pre_quant_scale"))
