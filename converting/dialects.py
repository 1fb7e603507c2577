"""How a quantized layer is written in a dialect: in the first encoding that can hold it, with ComfyUI's marker."""

import functools
import json
from collections.abc import Iterable, Mapping

import torch

from ..checkpoints.encodings import COMFYUI, LIGHTX2V, WRITTEN, Encoding
from ..checkpoints.weights import StoredWeight
from ..formats import FORMATS
from ..layer_rules import Override
from ..layer_rules.family_rules import lightx2v_also
from ..layer_rules.format_names import CHOICES, format_named
from ..layer_rules.shapes import why_not
from .rows import BY_CHANNEL

Tensors = dict[str, torch.Tensor]

MARKER = "comfy_quant"
# roles of the tensors that codes are multiplied by
SCALES = ("scale", "scale_2", "global_scale", "s_channel")


def needed(dialect: str, shapes: Mapping[str, tuple[int, int]], names: Iterable[str], wanted: str) -> list[Override]:
    """What readers of the dialect take quantized only, beyond the rules for the model's family, as rules that come
    before the user's own. shapes: layer -> (N, K); names: of all tensors; wanted: a format or scheme."""
    layers = [layer for layer in lightx2v_also(names) if layer in shapes] if dialect == LIGHTX2V else []
    format_name = format_named(wanted)
    return [Override(layer, format_name) for layer in layers if why_not(format_name, shapes[layer]) is None]


def writable(dialect: str) -> tuple[str, ...]:
    """The formats that a dialect has."""
    return tuple(WRITTEN[dialect])


def choices(dialect: str) -> list[str]:
    """`writable` as a person names them: without what layers become by smoothing, and rotated formats without their
    groups, which are found for each layer."""
    return [name for name in writable(dialect) if name in CHOICES]


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


def layer_tensors(stored: StoredWeight, dialect: str, scale_dtype: torch.dtype = torch.float32) -> Tensors:
    """The tensors of one layer, by what their names end in ("weight", "weight_scale", ...). scale_dtype: as LightX2V's
    files have the scales of BY_CHANNEL, which must be values of it; ComfyUI's have float32."""
    encoding = _encoding(stored.format, stored.shape, dialect)
    tensors = encoding.named(stored.repacked(encoding.format).tensors, stored.shape)
    if dialect == LIGHTX2V:
        if stored.format in BY_CHANNEL:
            tensors["weight_scale"] = tensors["weight_scale"].to(scale_dtype)
    else:
        if dialect == COMFYUI and "input_scale" in tensors:
            tensors["input_scale"] = tensors["input_scale"].reshape(())
        tensors[MARKER] = torch.tensor(list(json.dumps(_marker(stored, encoding, dialect)).encode()), dtype=torch.uint8)
    return {end: tensor.contiguous() for end, tensor in tensors.items()}


def scale_ends(format_name: str, shape: tuple[int, int], dialect: str) -> set[str]:
    """What the names of a layer's scales end in."""
    tensors = _encoding(format_name, shape, dialect).tensors
    return {tensors[role].ends[0] for role in SCALES if role in tensors}


def _encoding(format_name: str, shape: tuple[int, int], dialect: str) -> Encoding:
    return next(row for row in WRITTEN[dialect][format_name] if row.holds(shape))


def _marker(stored: StoredWeight, encoding: Encoding, dialect: str) -> dict[str, object]:
    """What core's loader and ours read a layer as."""
    row = FORMATS[stored.format]
    if dialect == COMFYUI and row.name == "fp8-tensor" and not stored.tensors["input_scale"].numel():
        # core would not scale what was never calibrated at all
        return {"format": row.marker, "full_precision_matrix_mult": True}
    marker = {"format": row.marker_of(stored.wrap(torch.bfloat16)._params), **row.settings}
    return {**marker, "orig_shape": list(stored.shape)} if encoding.padded else marker
