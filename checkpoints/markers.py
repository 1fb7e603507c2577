"""What a file says about its own formats. Untrusted: only what is listed here is believed."""

import json
from dataclasses import dataclass

import torch

from ..formats import ROTATED, ROTATIONS, SMOOTHED, awq_w4a16, convrot_w4a4, w4a8
from ..formats.fp8_block128 import BLOCK
from ..formats.int4_group128 import GROUP
from ..formats.int8_convrot import DEFAULT_GROUP, GROUPS, name_of
from ..formats.mx import BLOCK as MX_BLOCK
from .encodings import MARKS, mxfp8, nvfp4
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

LATER = "Update this pack, or get the model in another format."
DAMAGED = "The file is damaged: download it again."
UPDATE = "Update ComfyUI to 0.27 or newer, or get the model as int8 without rotation."
AGAIN = "Get the model in another file, or make one of the original with `x2v-quant convert --format int8-convrot`."

AGAIN_IN_4 = AGAIN.replace("int8-convrot", "w4a8")


@dataclass(frozen=True)
class Marker:
    """`format`: one of encodings.MARKS. `fault`: why the marker is not understood (then format is ""), `remedy`: what
    to do then. `group`: input channels that are rotated together, 0 for none. `shape`: (N, K) before padding, () where
    the marker does not tell."""

    format: str = ""
    fault: str = ""
    remedy: str = LATER
    group: int = 0
    full_precision: bool = False
    shape: tuple[int, ...] = ()


def from_tensor(key: str, data: bytes, dtype: str) -> Marker:
    """The marker in a tensor with a name in MARKER_SUFFIXES, of torch's `dtype`."""
    return _from_group(data, dtype) if key.endswith(GROUP_SUFFIX) else from_entry(_json(data))


def _from_group(data: bytes, dtype: str) -> Marker:
    """The marker that LightX2V's tensor "*.convrot_groupsize" is, one number for rotated int8."""
    kind = getattr(torch, dtype, None)
    one = isinstance(kind, torch.dtype) and len(data) == kind.itemsize
    group = torch.frombuffer(bytearray(data), dtype=kind).item() if one else None
    return from_entry({"format": ROTATABLE, ROTATES: True, ROTATED_GROUP: int(group) if group in GROUPS else group})


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
    if _told(entry, ROTATES, False):
        group = _told(entry, ROTATED_GROUP, DEFAULT_GROUP)
        fault, remedy = _unrotatable(name, group)
        if fault:
            return Marker(fault=fault, remedy=remedy)
        name = ROTATED[int(group)] if name == ROTATABLE else name
    if name == awq_w4a16.CORES:
        group = _told(entry, GROUP_SIZE, awq_w4a16.DEFAULT_GROUP)
        if group not in awq_w4a16.GROUPS:
            sizes = ", ".join(map(str, sorted(awq_w4a16.GROUPS)))
            return Marker(fault=f"is marked as {name} with groups of {str(group)[:20]}, not of {sizes}")
        name = awq_w4a16.name_of(group)
    if name == convrot_w4a4.CORES:
        which = str(_told(entry, ROTATED_GROUP, convrot_w4a4.GROUPS[0])), str(_told(entry, LINEAR_DTYPE, "int4"))
        known = {(str(group), dtype): one for (group, dtype), one in convrot_w4a4.NAMES.items()}
        if which not in known:
            what = f"groups of {which[0][:20]} and linear_dtype {which[1][:20]}"
            sizes = ", ".join(map(str, sorted(convrot_w4a4.GROUPS)))
            return Marker(fault=f"is marked as {name} with {what}, not of {sizes} and int4 or int8")
        name = known[which]
    if unknown := _unknown(entry):
        return unknown
    if entry.get(GROUP_SIZE) not in (None, GROUP_SIZES.get(name)):
        return Marker(fault=f"is marked as {name} with groups of {str(entry[GROUP_SIZE])[:20]}")
    shape = entry.get(SHAPE)
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(size) is int and size > 0 for size in shape):
        shape = ()
    full_precision = bool(entry.get("full_precision_matrix_mult"))
    return Marker(name, full_precision=full_precision, group=ROTATED_GROUPS.get(name, 0), shape=tuple(shape))


def _unknown(entry: dict) -> Marker | None:
    others = sorted(set(entry) - HARMLESS - {GROUP_SIZE, SHAPE})
    return Marker(fault=f"has a marker with the unknown entry {others[0][:40]!r}") if others else None


def _four_bits(entry: dict) -> Marker:
    """Of w4a8: the groups that are rotated are part of the format's name, those of scales are seen in the file."""
    rotation, group = _told(entry, ROTATED_GROUP, DEFAULT_GROUP), _told(entry, GROUP_SIZE, FINEST)
    if str(rotation) not in map(str, W4A8):
        return _unread(f"is rotated in groups of {str(rotation)[:20]} (convrot_groupsize), not of", sorted(W4A8))
    if str(group) not in map(str, range(FINEST, int(rotation) * FINEST + 1, FINEST)):
        return _unread(f"has scales for groups of {str(group)[:20]} (group_size), not of a multiple of", [FINEST])
    return _unknown(entry) or Marker(W4A8[int(rotation)])


def _unread(what: str, sizes: list[int]) -> Marker:
    return Marker(fault=f"{what} {', '.join(map(str, sizes))}", remedy=AGAIN_IN_4)


def _told(entry: dict, name: str, default: object) -> object:
    """An entry, or that of "params", where core looks next."""
    params = entry.get("params")
    return entry.get(name, params.get(name, default) if isinstance(params, dict) else default)


def _unrotatable(name: str, group: object) -> tuple[str, str]:
    """(why a rotated layer cannot be read, remedy), empty if it can."""
    if name in ROTATED_GROUPS:
        wrong = str(group) != str(ROTATED_GROUPS[name])
        return (f"is marked as {name} with groups of {str(group)[:20]} ({ROTATED_GROUP})" if wrong else "", AGAIN)
    if name != ROTATABLE:
        return f"is marked as {name} and as rotated (convrot), which only {ROTATABLE} layers are", LATER
    if not ROTATED:
        return "is rotated (convrot), which this ComfyUI's comfy-kitchen cannot compute", UPDATE
    # as core reads it, digits in quotes are a number
    if str(group) not in map(str, GROUPS):
        sizes = ", ".join(map(str, sorted(GROUPS)))
        return f"is rotated in groups of {str(group)[:20]} (convrot_groupsize), not of {sizes}", AGAIN
    return "", ""


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
