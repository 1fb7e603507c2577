"""What a file says about its own formats. Untrusted: only what is listed here is believed."""

import json
from dataclasses import dataclass

HEADER_KEY = "_quantization_metadata"
# ComfyUI's old marker: one for the whole file, also written by LightX2V for int8, so dtypes decide
WHOLE_FILE = "scaled_fp8"

# a marker's format -> dtype of the codes
FORMATS = {
    "float8_e4m3fn": "float8_e4m3fn",
    "fp8-channel": "float8_e4m3fn",
    "int8_tensorwise": "int8",
    "int8-channel": "int8",
}
# entries that do not change what the codes mean
HARMLESS = {"format", "params", "full_precision_matrix_mult", "convrot", "convrot_groupsize"}


@dataclass(frozen=True)
class Marker:
    """`dtype`: what the layer's codes have to be. `fault`: why the marker is not understood (then dtype is "")."""

    dtype: str = ""
    fault: str = ""
    full_precision: bool = False


def from_bytes(data: bytes) -> Marker:
    """The marker in a tensor "*.comfy_quant"."""
    return from_entry(_json(data))


def from_header(text: str) -> dict[str, Marker] | None:
    """Layer -> marker of a safetensors header's `_quantization_metadata`; None if it is no such thing."""
    table = _json(text)
    layers = table.get("layers") if isinstance(table, dict) else None
    if not isinstance(layers, dict):
        return None
    return {layer: from_entry(entry) for layer, entry in layers.items() if layer.isprintable()}


def from_entry(entry: object) -> Marker:
    if not isinstance(entry, dict):
        return Marker(fault="has a marker that is no JSON table")
    name = entry.get("format")
    if not isinstance(name, str) or name not in FORMATS:
        return Marker(fault=f"is marked with the unknown format {str(name)[:40]!r}")
    params = entry.get("params")
    if entry.get("convrot") or (isinstance(params, dict) and params.get("convrot")):
        return Marker(fault="is rotated (convrot)")
    others = sorted(set(entry) - HARMLESS)
    if others:
        return Marker(fault=f"has a marker with the unknown entry {others[0][:40]!r}")
    return Marker(FORMATS[name], full_precision=bool(entry.get("full_precision_matrix_mult")))


def _json(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
