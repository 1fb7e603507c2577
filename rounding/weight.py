"""One weight through the steps of a method: float values in, the tensors of a format out."""

import hashlib
from collections.abc import Callable

import torch

from ..formats import FORMATS, UNSMOOTHED
from ..formats.grid import Tensors
from . import pieces
from .basis import importance_in_basis, tokens_in_basis, weight_in_basis
from .curvature import Curvatures
from .descent import descend
from .gptq import gptq
from .inputs import LayerInputs
from .methods import Method, method_for


def round_weight(
    weight: torch.Tensor,
    format_name: str,
    method: Method | None,
    inputs: LayerInputs | None = None,
    factor: torch.Tensor | None = None,
    whole: torch.Tensor | None = None,
    store: Callable[[torch.Tensor], torch.Tensor] | None = None,
    curvatures: Curvatures | None = None,
) -> Tensors:
    """weight: float32 [N, K], or some rows of one -> the tensors of `format_name`.

    method: None for the best one of this format and what was recorded, as for one that needs more than that
    (methods.method_for). inputs: of the layer. factor: float32 [K], the columns are divided by it; a smoothed format
    keeps it, for any other the file has to say so elsewhere.
    whole: the scale of the whole weight where `weight` is some of its rows; None: of these values. store: what a file
    makes of the scales, None for float32. curvatures: shared by layers of one model. On the weight's device.
    """
    inputs = inputs or LayerInputs()
    row = FORMATS[format_name]
    plain = FORMATS[UNSMOOTHED[format_name]] if row.smooth else row
    device = weight.device
    factor = None if factor is None else factor.to(device, torch.float32).contiguous()
    kept = {"pre_quant_scale": factor} if row.smooth else {}
    method = method_for(plain.name, method, inputs.recorded)
    if plain.grid is None:
        return pieces.nearest(weight, row, **kept)
    values = weight_in_basis(weight, row, factor)
    whole = plain.grid.of_whole(values) if whole is None else whole
    importance = inputs.importance()
    if importance is not None:
        importance = importance_in_basis(importance.to(device), row, factor)
    scale = pieces.scales(values, plain.grid, method.scales, whole, importance)
    scale = scale if store is None else store(scale)
    if method.rounding == "gptq":
        basis = (plain.rotation, None if factor is None else factor_key(factor))
        key = None if inputs.key is None else (inputs.key, *basis, device)
        curvature = (curvatures or Curvatures()).of(key, lambda: tokens_in_basis(inputs.tokens.to(device), row, factor))
        values = descend(values, gptq(values, plain.grid, scale, curvature), plain.grid, scale, curvature)
    return pieces.packed(values, plain, scale, whole) | kept


def factor_key(factor: torch.Tensor) -> bytes:
    """Equal for factors [K] of the same values."""
    return hashlib.sha256(factor.cpu().numpy().tobytes()).digest()
