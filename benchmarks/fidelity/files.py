"""How each contestant's file is written from the original weights. Needs ComfyUI on the path."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import comfy.quant_ops  # noqa: F401 - registers core's layouts
import torch
from comfy_kitchen.tensor import QuantizedTensor
from safetensors import safe_open
from safetensors.torch import save_file

from ...calibration import Calibration
from ...checkpoints.encodings import X2V
from ...converting.convert import convert
from ...converting.options import Options
from ...demo.quantize import SELECTION
from ...formats import FORMATS, family, fitting
from ...formats.format import Format
from ..quantize import KINDS, quantized
from .gguf_file import write_gguf
from .peers import CORE_FORMATS, GGUF_TYPES, CoreFormat

Tensors = dict[str, torch.Tensor]
Layer = dict[str, torch.Tensor]

# what LightX2V publishes: format -> what the demo's converter calls it
FORMAT_KINDS = {
    "int8-channel": "int8",
    "fp8-channel": "fp8",
    "fp8-tensor": "fp8-tensor",
    "int4-g128": "int4",
    "int4-g128-marlin": "int4-marlin",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}


def read_original(path: Path) -> tuple[Tensors, dict[str, str]]:
    """The tensors and the header's metadata of a safetensors file."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118 - no dict


def selected(tensors: Tensors) -> list[str]:
    """Names, without ".weight", of the linear layers of a DiT that converters quantize."""
    place, words = SELECTION["dit"]
    names = [name for name, tensor in tensors.items() if name.endswith(".weight") and tensor.ndim == 2]
    return [name.removesuffix(".weight") for name in names if "".join(name.split(".")[place : place + 1]) in words]


def write(kind: str, tensors: Tensors, metadata: dict[str, str], folder: Path) -> Path:
    """The file of a key of WRITERS, in `folder`."""
    return WRITERS[kind](tensors, metadata, folder / kind.replace(" ", "-").replace(",", ""))


def write_smoothed(format_name: str, original: Path, calibration: Path, folder: Path) -> Path:
    """The file of a smoothed format, as `x2v-quant convert --calibration` makes it."""
    path = folder / f"{format_name}.safetensors"
    seen = Calibration.load(calibration)
    convert(original, path, Options(format=family(format_name), dialect=X2V, calibration=seen))
    return path


def _lightx2v(kind: str, tensors: Tensors, metadata: dict[str, str], stem: Path) -> Path:
    return _save(quantized(tensors, kind, "dit"), metadata, stem)


def _layers(quantize: Callable[[torch.Tensor], Layer], tensors: Tensors, metadata: dict[str, str], stem: Path) -> Path:
    result = dict(tensors)
    for layer in selected(tensors):
        result |= {f"{layer}.{name}": stored for name, stored in quantize(result.pop(f"{layer}.weight")).items()}
    return _save(result, metadata, stem)


def _save(tensors: Tensors, metadata: dict[str, str], stem: Path) -> Path:
    path = stem.with_name(f"{stem.name}.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    return path


def _reduced(weight: torch.Tensor) -> Layer:
    """LightX2V's reduced-range fp8: codes up to 28, else as fp8-channel."""
    codes, params = FORMATS["fp8-reduced"].layout.quantize(weight)
    return {"weight": codes, "weight_scale": params.scale}


def _own(row: Format, weight: torch.Tensor) -> Layer:
    """A layer as the pack saves it."""
    row = FORMATS[fitting(row.name, tuple(weight.shape))]
    held = row.quantize(weight, weight.dtype)
    return held.state_dict("weight") | _marker(row.marker_of(held._params), **row.settings)


def _marked(kind: str, marker: str, weight: torch.Tensor) -> Layer:
    """As the demo's converter makes it, and marked: a weight of one block looks like one with a single scale."""
    return KINDS[kind](weight) | _marker(marker)


def _core(row: CoreFormat, weight: torch.Tensor) -> Layer:
    """A layer as core saves it."""
    return QuantizedTensor.from_float(weight, row.layout, **row.options).state_dict("weight") | _marker(row.marker)


def _marker(name: str, **settings) -> Layer:
    return {"comfy_quant": torch.tensor(list(json.dumps({"format": name, **settings}).encode()), dtype=torch.uint8)}


def _gguf(type_name: str, tensors: Tensors, metadata: dict[str, str], stem: Path) -> Path:
    return write_gguf(tensors, set(selected(tensors)), type_name, stem.with_name(f"{stem.name}.gguf"))


# kind -> (tensors, metadata, path without its ending) -> the file
WRITERS: dict[str, Callable[[Tensors, dict[str, str], Path], Path]] = {
    **{name: partial(_layers, partial(_own, row)) for name, row in FORMATS.items() if not row.smooth},
    **{name: partial(_lightx2v, kind) for name, kind in FORMAT_KINDS.items()},
    "fp8-reduced": partial(_layers, _reduced),
    "fp8-block128": partial(_layers, partial(_marked, "block128", FORMATS["fp8-block128"].marker)),
    **{name: partial(_layers, partial(_core, row)) for name, row in CORE_FORMATS.items()},
    **{name: partial(_gguf, type_name) for name, type_name in GGUF_TYPES.items()},
}
