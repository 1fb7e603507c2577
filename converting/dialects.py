"""How a quantized layer is written: its tensors by the end of their names, per dialect and format."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping

import torch
from comfy_kitchen.float_utils import swap_nibbles

from ..checkpoints.checkpoint import StoredWeight
from ..formats import FORMATS, ROTATED, int4_marlin, int8_convrot
from ..formats.int4_group128 import GROUP
from ..layer_rules import Override
from ..layer_rules.families import lightx2v_also
from ..layer_rules.format_names import format_named
from ..layer_rules.shapes import why_not
from .outputs import COMFYUI, LIGHTX2V, X2V
from .rows import BY_CHANNEL

Tensors = dict[str, torch.Tensor]

MARKER = "comfy_quant"
# input scale of a weight that nobody has calibrated, as LightX2V's and others' writers put it
UNCALIBRATED = 1.0
# scales in an int32
WORD = 4
# Marlin's kernel wants this many zeros for 128 output channels
WORKSPACE = 16


def _scaled(held: StoredWeight) -> Tensors:
    return {"weight": held.tensors["codes"], "weight_scale": held.tensors["scale"]}


def _lightx2v_fp8_tensor(held: StoredWeight) -> Tensors:
    given = held.tensors["input_scale"]
    static = given.reshape(()) if given.numel() else given.new_full((), UNCALIBRATED)
    return {**_scaled(held), "weight_scale": _one_or_rows(held.tensors["scale"]), "input_scale": static}


def _lightx2v_int4(held: StoredWeight) -> Tensors:
    """Marlin's order, which is the only one that LightX2V has, where the shape allows it."""
    rows, columns = held.shape
    if rows % int4_marlin.N_MULTIPLE or columns % GROUP:
        return _scaled(held)
    return {
        "weight": int4_marlin.pack(held.tensors["codes"]),
        "weight_scale": int4_marlin.pack_scale(held.tensors["scale"]),
        "weight_workspace": torch.zeros(max(rows // 128, 1) * WORKSPACE, dtype=torch.int32),
    }


def _lightx2v_mxfp8(held: StoredWeight) -> Tensors:
    rows, columns = held.shape
    codes = held.tensors["codes"][:rows, :columns].contiguous().view(torch.uint8)
    return {"weight": codes, "weight_scale": held.tensors["scale"].view(torch.uint8).view(torch.int32)}


def _lightx2v_nvfp4(held: StoredWeight) -> Tensors:
    rows, columns = held.shape
    codes = held.tensors["codes"][:rows, : columns // 2].contiguous()
    return {
        "weight": swap_nibbles(codes),
        "weight_scale": held.tensors["block_scale"],
        "weight_global_scale": 1 / held.tensors["scale"],
    }


def _one_or_rows(scale: torch.Tensor) -> torch.Tensor:
    return scale.reshape(()) if scale.numel() == 1 else scale


def _saved(held: StoredWeight) -> tuple[Tensors, dict]:
    """As core saves a layer of this pack, and its marker."""
    row = FORMATS[held.format]
    params = row.wrap(held.tensors, torch.bfloat16, held.shape)._params
    stored = row.layout.state_dict_tensors(held.tensors["codes"], params)
    tensors = {f"weight{end}": tensor for end, tensor in stored.items()}
    for name in WRITTEN_BY_CORE:
        if name in held.tensors and held.tensors[name].numel():
            tensors[name] = held.tensors[name]
    marker: dict[str, object] = {"format": row.marker_of(params), **row.settings}
    if held.format in PADDED:
        marker["orig_shape"] = list(held.shape)
    if held.format == "mxfp8":  # core's reader of streamed files does not know the type
        tensors["weight_scale"] = tensors["weight_scale"].view(torch.uint8)
    return tensors, marker


def _x2v(held: StoredWeight) -> Tensors:
    tensors, marker = _saved(held)
    return {**tensors, MARKER: _bytes(marker)}


def _comfyui(held: StoredWeight) -> Tensors:
    """What was never calibrated is marked to be multiplied in full precision: core would not scale its input at all."""
    tensors, marker = _saved(held)
    if "input_scale" in tensors:
        tensors["input_scale"] = tensors["input_scale"].reshape(())
    elif held.format == "fp8-tensor":
        marker = {"format": FORMATS[held.format].marker, "full_precision_matrix_mult": True}
    return {**tensors, MARKER: _bytes(marker)}


def _bytes(marker: dict) -> torch.Tensor:
    return torch.tensor(list(json.dumps(marker).encode()), dtype=torch.uint8)


# tensors of a layer that are not in its weight's own state dict
WRITTEN_BY_CORE = ("input_scale", "pre_quant_scale")
# formats that files hold as another one
MADE_AT_LOAD = ("fp8-reduced", "fp8-reduced-smooth", "int4-g128-marlin")
# formats whose codes core pads
PADDED = ("mxfp8", "nvfp4")

WRITERS: dict[str, dict[str, Callable[[StoredWeight], Tensors]]] = {
    LIGHTX2V: {
        "int8-channel": _scaled,
        "fp8-channel": _scaled,
        "fp8-tensor": _lightx2v_fp8_tensor,
        "fp8-block128": _scaled,
        "int4-g128": _lightx2v_int4,
        "mxfp8": _lightx2v_mxfp8,
        "nvfp4": _lightx2v_nvfp4,
    },
    COMFYUI: dict.fromkeys(("int8-channel", *ROTATED.values(), "fp8-tensor", "mxfp8", "nvfp4"), _comfyui),
    X2V: dict.fromkeys((name for name in FORMATS if name not in MADE_AT_LOAD), _x2v),
}


def needed(dialect: str, shapes: Mapping[str, tuple[int, int]], names: Iterable[str], wanted: str) -> list[Override]:
    """What readers of the dialect take quantized only, beyond the rules for the model's family, as rules that come
    before the user's own. shapes: layer -> (N, K); names: of all tensors; wanted: a format or scheme."""
    layers = [layer for layer in lightx2v_also(names) if layer in shapes] if dialect == LIGHTX2V else []
    format_name = format_named(wanted)
    return [Override(layer, format_name) for layer in layers if why_not(format_name, shapes[layer]) is None]


def writable(dialect: str) -> tuple[str, ...]:
    """The formats that a dialect has."""
    return tuple(WRITERS[dialect])


def choices(dialect: str) -> list[str]:
    """`writable` as a person names them: rotated formats without the groups, which are found for each layer."""
    return [name for name in writable(dialect) if name not in ROTATED.values() or name == int8_convrot.NAME]


@functools.cache
def layer_specs(
    format_name: str,
    shape: tuple[int, int],
    dialect: str,
    scale_dtype: torch.dtype = torch.float32,
    static: bool = False,
) -> Tensors:
    """As `layer_tensors`, on the meta device: types and shapes of a layer that is not there yet. static: it will have
    an input_scale. Made once for each shape, because torch takes milliseconds over it: not to be changed.

    Raises ValueError for a shape (N, K) that the format cannot hold.
    """
    row = FORMATS[format_name]
    tensors = row.encode(torch.empty(shape, device="meta"), scale="recalculate")
    if static:
        tensors["input_scale"] = torch.empty(1, device="meta")
    return layer_tensors(StoredWeight(format_name, shape, tensors), dialect, scale_dtype)


def layer_tensors(held: StoredWeight, dialect: str, scale_dtype: torch.dtype = torch.float32) -> Tensors:
    """The tensors of one layer, by what their names end in ("weight", "weight_scale", ...). scale_dtype: as LightX2V's
    files have the scales of BY_CHANNEL, which must be values of it; ComfyUI's have float32."""
    tensors = WRITERS[dialect][held.format](held)
    if dialect == LIGHTX2V and held.format in BY_CHANNEL:
        tensors["weight_scale"] = tensors["weight_scale"].to(scale_dtype)
    return {end: tensor.contiguous() for end, tensor in tensors.items()}
