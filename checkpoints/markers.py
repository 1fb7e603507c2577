"""What a file says about its own formats. Untrusted: only what is listed here is believed."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from ..common.printable import printable
from ..formats import FORMATS, ROTATED, ROTATED_TWINS, ROTATIONS, SMOOTHED, UNSMOOTHED, awq_w4a16, convrot_w4a4, w4a8
from ..formats.fp8_block128 import BLOCK
from ..formats.int4_group128 import GROUP
from ..formats.int8_convrot import DEFAULT_GROUP, GROUPS, name_of
from ..formats.mx import BLOCK as MX_BLOCK
from .encodings import MARKS, mxfp8, nvfp4
from .encodings.scales import FLOATS
from .tensor_info import GROUP_SUFFIX

HEADER_KEY = "_quantization_metadata"
# ComfyUI's old marker: one for the whole file, also written by LightX2V for int8, so dtypes decide
WHOLE_FILE = "scaled_fp8"
# LightX2V's converter names the profile of a file with fewer codes here, and the largest code of its layers
PROFILE, LARGEST = "quantization_profile", "weight_qmax"

# entries that do not change what the codes mean
HARMLESS = {"format", "params", "full_precision_matrix_mult", "convrot", "convrot_groupsize", "per_row", "orig_dtype"}
LINEAR_DTYPE = "linear_dtype"
HARMLESS.add(LINEAR_DTYPE)
# of core's int8 format: whether groups of input channels are rotated (ConvRot), and how many make one
ROTATES, ROTATED_GROUP, ROTATABLE = "convrot", "convrot_groupsize", "int8_tensorwise"
# entries that are believed, where they say what the format has anyway
GROUP_SIZE, SHAPE = "group_size", "orig_shape"
GROUP_SIZES = {
    "mxfp8": mxfp8.BLOCK,
    "nvfp4": nvfp4.BLOCK,
    "mxfp4": MX_BLOCK,
    "mxfp6": MX_BLOCK,
    "int4-g128": GROUP,
    "int4-g128-marlin": GROUP,
    "fp8-block128": BLOCK,
    "float8_e4m3fn_blockwise": BLOCK,
}
# this pack's own names of rotated formats say the group as well
ROTATED_GROUPS = {name_of(group): group for group in GROUPS}
ROTATED_GROUPS |= {SMOOTHED[name]: group for group, name in ROTATED.items()}
GROUP_SIZES |= ROTATED_GROUPS
GROUP_SIZES |= {awq_w4a16.name_of(group): group for group in awq_w4a16.GROUPS}
# core's name of 4-bit codes that are rotated whatever the marker says
FOUR_BITS, W4A8 = w4a8.MARKER, ROTATIONS[w4a8.NAME]
FINEST = w4a8.GROUP

# types of a tensor that is one number
NUMBERS = (*FLOATS, *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))
# characters of a value that are shown
SHOWN = 20

LATER = "Update this pack, or get the model in another format."
DAMAGED = "The file is damaged: download it again."
UPDATE = "Update ComfyUI to 0.27 or newer, or get the model as int8 without rotation."
AGAIN = "Get the model in another file, or make one of the original with `x2v-quant convert --format int8-convrot`."

IN_COMFYUI = "Get the model in a file that marks its layers, as ComfyUI's do."
AGAIN_IN_4 = AGAIN.replace("int8-convrot", "w4a8")


@dataclass(frozen=True)
class Marker:
    """`format`: one of encodings.MARKS. `fault`: why the marker is not understood (then format is ""), `remedy`: what
    to do then. `group`: input channels of int8 that are rotated together, 0 for none. `group_size`: those that share a
    scale, 0 where the marker does not tell. `shape`: (N, K) before padding, () where it does not tell."""

    format: str = ""
    fault: str = ""
    remedy: str = LATER
    group: int = 0
    group_size: int = 0
    full_precision: bool = False
    shape: tuple[int, ...] = ()


def from_tensor(key: str, data: bytes, dtype: str) -> Marker:
    """The marker in a tensor with a name in MARKER_SUFFIXES, of torch's `dtype`."""
    return _from_group(data, dtype) if key.endswith(GROUP_SUFFIX) else from_entry(_json(data))


def _from_group(data: bytes, dtype: str) -> Marker:
    """The marker that LightX2V's tensor "*.convrot_groupsize" is, one number for rotated int8."""
    kind = getattr(torch, dtype) if dtype in NUMBERS else None
    one = kind is not None and len(data) == kind.itemsize
    group = torch.frombuffer(bytearray(data), dtype=kind).item() if one else None
    return from_entry({"format": ROTATABLE, ROTATES: True, ROTATED_GROUP: group})


def from_header(text: str) -> dict[str, Marker] | None:
    """Layer -> marker of a safetensors header's `_quantization_metadata`; None if it is no such thing."""
    table = _json(text)
    layers = table.get("layers") if isinstance(table, dict) else None
    if not isinstance(layers, dict):
        return None
    return {layer: from_entry(entry) for layer, entry in layers.items() if layer.isprintable()}


def from_entry(entry: object) -> Marker:
    if not isinstance(entry, dict):
        return Marker(fault="has a marker that is no JSON table", remedy=DAMAGED)
    name = entry.get("format")
    if name == FOUR_BITS:
        return _four_bits(entry)
    if not isinstance(name, str) or name not in MARKS:
        return Marker(fault=f"is marked with the unknown format {str(name)[:40]!r}")
    if _told(entry, ROTATES, False) and not (name in FORMATS and FORMATS[name].rotation):
        if name != ROTATABLE:
            what = f"is marked as {name} and as rotated (convrot), which only {ROTATABLE} layers are"
            return Marker(fault=what)
        if not ROTATED:
            return Marker(
                fault="is rotated (convrot), which this ComfyUI's comfy-kitchen cannot compute", remedy=UPDATE
            )
        told = _told(entry, ROTATED_GROUP, DEFAULT_GROUP)
        group = _size(told, GROUPS)
        if group is None:
            what = f"is rotated in groups of {_shown(told)} ({ROTATED_GROUP}), not of {_listed(GROUPS)}"
            return Marker(fault=what, remedy=AGAIN)
        name = ROTATED[group]
    if name == awq_w4a16.CORES:
        told = _told(entry, GROUP_SIZE, awq_w4a16.DEFAULT_GROUP)
        group = _size(told, awq_w4a16.GROUPS)
        if group is None:
            what = f"is marked as {name} with groups of {_shown(told)}, not of {_listed(awq_w4a16.GROUPS)}"
            return Marker(fault=what)
        name = awq_w4a16.name_of(group)
    if name == convrot_w4a4.CORES:
        told, dtype = _told(entry, ROTATED_GROUP, convrot_w4a4.GROUPS[0]), _told(entry, LINEAR_DTYPE, "int4")
        which = _size(told, convrot_w4a4.GROUPS), str(dtype)
        if which not in convrot_w4a4.NAMES:
            what = f"groups of {_shown(told)} and linear_dtype {_shown(dtype)}"
            sizes = _listed(convrot_w4a4.GROUPS)
            return Marker(fault=f"is marked as {name} with {what}, not of {sizes} and int4 or int8")
        name = convrot_w4a4.NAMES[which]
    return _unknown(entry) or _contradiction(entry, name) or _marker(entry, name)


def _marker(entry: dict, name: str) -> Marker:
    group_size = FORMATS[name].settings.get(GROUP_SIZE, 0) if name in FORMATS else 0
    full_precision = bool(entry.get("full_precision_matrix_mult"))
    group = ROTATED_GROUPS.get(name, 0)
    return Marker(name, group=group, group_size=group_size, full_precision=full_precision, shape=_shape(entry))


def _shape(entry: dict) -> tuple[int, ...]:
    shape = entry.get(SHAPE)
    sound = isinstance(shape, list) and len(shape) == 2 and all(type(size) is int and size > 0 for size in shape)
    return tuple(shape) if sound else ()


def _contradiction(entry: dict, name: str) -> Marker | None:
    """An entry that says something else than the format's name, which is one of MARKS."""
    row, own = FORMATS.get(name), entry.get("format") == name
    settings = dict(row.settings) if row else {}
    rotation = row.rotation if row else 0
    if rotation and own and not _told(entry, ROTATES, True):
        return Marker(fault=f"is marked as {name} and as not rotated ({ROTATES})", remedy=AGAIN)
    group = _told(entry, ROTATED_GROUP, rotation)
    if (rotation or UNSMOOTHED.get(name, name) in ROTATED_TWINS) and _size(group, [rotation]) is None:
        return Marker(fault=f"is marked as {name} with groups of {_shown(group)} ({ROTATED_GROUP})", remedy=AGAIN)
    size = _told(entry, GROUP_SIZE, None)
    if size is not None and _size(size, [settings.get(GROUP_SIZE, GROUP_SIZES.get(name))]) is None:
        return Marker(fault=f"is marked as {name} with groups of {_shown(size)}")
    dtype = settings.get(LINEAR_DTYPE)
    if dtype and _told(entry, LINEAR_DTYPE, dtype) != dtype:
        return Marker(fault=f"is marked as {name} with {LINEAR_DTYPE} {_shown(_told(entry, LINEAR_DTYPE, dtype))}")
    return None


def _unknown(entry: dict) -> Marker | None:
    others = sorted(set(entry) - HARMLESS - {GROUP_SIZE, SHAPE})
    return Marker(fault=f"has a marker with the unknown entry {others[0][:40]!r}") if others else None


def _four_bits(entry: dict) -> Marker:
    """Of w4a8: the groups that are rotated are part of the format's name, those of scales are seen in the file."""
    told, size = _told(entry, ROTATED_GROUP, DEFAULT_GROUP), _told(entry, GROUP_SIZE, 0)
    rotation = _size(told, W4A8)
    if rotation is None:
        return _unread(f"is rotated in groups of {_shown(told)} (convrot_groupsize), not of", W4A8)
    group = _size(size, [0, *range(FINEST, rotation * FINEST + 1, FINEST)])
    if group is None:
        return _unread(f"has scales for groups of {_shown(size)} (group_size), not of a multiple of", [FINEST])
    return _unknown(entry) or Marker(W4A8[rotation], group_size=group, shape=_shape(entry))


def _unread(what: str, sizes: Iterable[int]) -> Marker:
    return Marker(fault=f"{what} {_listed(sizes)}", remedy=AGAIN_IN_4)


def _size(told: object, sizes: Iterable[int | None]) -> int | None:
    """Which of `sizes` an entry is: a number, or, as core reads it, digits in quotes. None if it is none of them."""
    number = isinstance(told, int | float) and not isinstance(told, bool)
    return next(
        (size for size in sizes if (told == size if number else isinstance(told, str) and told == str(size))), None
    )


def _shown(value: object) -> str:
    return printable(str(value))[:SHOWN]


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(sizes)))


def _told(entry: dict, name: str, default: object) -> object:
    """An entry, or that of "params", where core looks next."""
    params = entry.get("params")
    return entry.get(name, params.get(name, default) if isinstance(params, dict) else default)


def profile_note(metadata: dict[str, str]) -> str | None:
    """What to say of a file that LightX2V made for FP16 accumulation: fp8-channel with small codes in the layers of
    its profile and ordinary ones in the rest, so that nothing about a code is wrong."""
    if PROFILE not in metadata:
        return None
    name, largest = metadata[PROFILE], metadata.get(LARGEST, "")
    up_to = f": codes up to {float(largest):g}" if _is_number(largest) else ""
    return f"made for FP16 accumulation (profile {name[:60]!r}){up_to} in the layers that it lists"


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


def _json(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
