"""Smoothed layers: a factor per input channel, which activations are multiplied by and weights were divided by.

It lies in the layer as `pre_quant_scale` (ModelOpt's and ComfyUI's name, and this pack's), or beside it as
LightCompress's affine_norm (checkpoints/affine_norm.py finds those, they are not told by a layer's own names).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch

from ...formats import SMOOTHED
from . import channel, int4, marlin
from .encoding import X2V, Change, Encoding, Shapes, TensorRole, Tensors, WrongValueError
from .scales import FLOATS

FACTOR = "pre_quant_scale"
# what stands for the factor in LightCompress's affine_norm: one vector for the norm's scale and one for its shift
NORM_WEIGHT, NORM_BIAS = "affine_weight", "affine_bias"
NO_FACTOR = "has a smoothing factor that is zero, negative or not a number"


def shape(shapes: Shapes, plain: Callable[[Shapes], tuple[int, int] | None]) -> tuple[int, int] | None:
    """`plain`: that of the encoding without the factor."""
    fitting = plain(shapes)
    return fitting if fitting is None or shapes.get(FACTOR, fitting[1:]) in (fitting[1:], (1, fitting[1])) else None


def unpack(tensors: Tensors, shape: tuple[int, int], plain: Change) -> dict[str, torch.Tensor]:
    """`plain`: that of the encoding without the factor."""
    return plain(tensors, shape) | {FACTOR: factor(tensors[FACTOR], FACTOR)}


def unpack_affine(tensors: Tensors, shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    return channel.unpack(tensors, shape) | {FACTOR: affine_factor(tensors[NORM_WEIGHT], tensors[NORM_BIAS])}


def factor(tensor: torch.Tensor, role: str) -> torch.Tensor:
    """Float32 [K], a copy of its own: layers may share what the file has. Raises WrongValueError for one that is not
    positive."""
    values = tensor.to(torch.float32, copy=True).flatten()
    if not bool((values.isfinite() & (values > 0)).all()):
        raise WrongValueError(role, NO_FACTOR)
    return values


def affine_factor(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """The one factor that a norm's scale and shift are multiplied by. Raises WrongValueError if they are two."""
    values = factor(weight, NORM_WEIGHT)
    if not torch.equal(values, bias.to(torch.float32).flatten()):
        cause = "differs from the weight beside it, so no factor for the layer's input stands for both"
        raise WrongValueError(NORM_BIAS, cause, "Get a file that was exported without a shift of its own.")
    return values


def _smoothed(row: Encoding) -> Encoding:
    """`row` with a factor in the layer; only marked with a name of ours, or not at all if `row` may be so: core reads
    its own names without the factor."""
    name = SMOOTHED[row.format]
    return replace(
        row,
        format=name,
        tensors={**row.tensors, FACTOR: TensorRole((FACTOR,), FLOATS)},
        shape=partial(shape, plain=row.shape),
        unpack=partial(unpack, plain=row.unpack),
        dialects=tuple(dialect for dialect in row.dialects if dialect == X2V),
        marks=(name,),
    )


INT8, FP8 = _smoothed(channel.INT8), _smoothed(channel.FP8)
ENCODINGS = (INT8, FP8, *map(_smoothed, (*channel.ROTATED_INT8, int4.PLAIN, *marlin.ENCODINGS)))

# format of a layer by itself -> how it is read with an affine_norm beside it
WITH_AFFINE_NORM = {
    channel.INT8.format: replace(INT8, unpack=unpack_affine),
    channel.FP8.format: replace(FP8, unpack=unpack_affine),
}
