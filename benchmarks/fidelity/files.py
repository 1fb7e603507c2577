"""How each contestant's file is written from the original weights. Needs ComfyUI on the path."""

import json
from collections.abc import Callable
from dataclasses import dataclass
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
from ...formats import FORMATS, SMOOTHQUANT, family, fitting
from ...formats.format import Format
from ...rounding import METHODS, LayerInputs, round_weight
from ...rounding.curvature import Curvatures
from ..quantize import KINDS, quantized
from .contestants import Contestant
from .gguf_file import write_gguf
from .peers import CORE_FORMATS, GGUF_FORMATS, CoreFormat, GgufFormat

Tensors = dict[str, torch.Tensor]
Layer = dict[str, torch.Tensor]

NEAREST = "nearest"
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


@dataclass(frozen=True)
class Source:
    """What everybody's file is made of: the original at `path`, its `tensors` and the `metadata` of its header;
    `calibration`: the file of what its layers get to see, for those that go by it."""

    path: Path
    tensors: Tensors
    metadata: dict[str, str]
    calibration: Path

    @classmethod
    def read(cls, path: Path, calibration: Path) -> "Source":
        """path: a safetensors file; calibration: need not be there yet."""
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            return cls(path, tensors, file.metadata() or {}, calibration)


def selected(tensors: Tensors) -> list[str]:
    """Names, without ".weight", of the linear layers of a DiT that converters quantize."""
    place, words = SELECTION["dit"]
    names = [name for name, tensor in tensors.items() if name.endswith(".weight") and tensor.ndim == 2]
    return [name.removesuffix(".weight") for name in names if "".join(name.split(".")[place : place + 1]) in words]


def write(row: Contestant, source: Source, folder: Path) -> Path:
    """A contestant's file, in `folder`."""
    stem = folder / row.file.replace(" ", "-").replace(",", "")
    smooth = row.file in FORMATS and FORMATS[row.file].smooth
    if row.rounding and row.file in SMOOTHQUANT:
        return _rounded(row, source, stem)
    return _converted(row, source, stem) if row.rounding or smooth else WRITERS[row.file](source, stem)


def _converted(row: Contestant, source: Source, stem: Path) -> Path:
    """As `x2v-quant convert --calibration` makes it, which smooths what can be."""
    path, seen = stem.with_name(f"{stem.name}.safetensors"), Calibration.load(source.calibration)
    rounding = row.rounding or NEAREST
    options = Options(format=family(row.file), dialect=X2V, calibration=seen, rounding=rounding)
    convert(source.path, path, options)
    return path


def _rounded(row: Contestant, source: Source, stem: Path) -> Path:
    """Without the smoothing that `convert` would add."""
    result, seen, curvatures = dict(source.tensors), Calibration.load(source.calibration), Curvatures()
    for layer in selected(source.tensors):
        weight = result.pop(f"{layer}.weight")
        inputs = LayerInputs(seen.inputs_of(layer), seen.mean_squares(layer), seen.same_inputs(layer))
        tensors = rounded_layer(row.file, row.rounding, weight, inputs, curvatures)
        result |= {f"{layer}.{name}": stored for name, stored in tensors.items()}
    return _save(result, source.metadata, stem)


def rounded_layer(
    format_name: str, rounding: str, weight: torch.Tensor, inputs: LayerInputs, curvatures: Curvatures
) -> Layer:
    """A layer as the pack saves it, its weight [N, K] rounded by a method of rounding.METHODS."""
    shape = tuple(weight.shape)
    format_row = FORMATS[fitting(format_name, shape)]
    tensors = round_weight(weight.float(), format_row.name, METHODS[rounding], inputs, curvatures=curvatures)
    return _saved(format_row, format_row.wrap(tensors, weight.dtype, shape))


def _lightx2v(kind: str, source: Source, stem: Path) -> Path:
    return _save(quantized(source.tensors, kind, "dit"), source.metadata, stem)


def _layers(quantize: Callable[[torch.Tensor], Layer], source: Source, stem: Path) -> Path:
    result = dict(source.tensors)
    for layer in selected(source.tensors):
        result |= {f"{layer}.{name}": stored for name, stored in quantize(result.pop(f"{layer}.weight")).items()}
    return _save(result, source.metadata, stem)


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
    return _saved(row, row.quantize(weight, weight.dtype))


def _saved(row: Format, held: QuantizedTensor) -> Layer:
    return held.state_dict("weight") | _marker(row.marker_of(held._params), **row.settings)


def _marked(kind: str, marker: str, weight: torch.Tensor) -> Layer:
    """As the demo's converter makes it, and marked: a weight of one block looks like one with a single scale."""
    return KINDS[kind](weight) | _marker(marker)


def core_layer(row: CoreFormat, weight: torch.Tensor) -> Layer:
    """A layer as core saves it."""
    group = row.group(weight.shape[1])
    held = QuantizedTensor.from_float(weight, row.layout, **row.options, **group)
    return held.state_dict("weight") | _marker(row.marker, **row.settings, **group)


def _marker(name: str, **settings) -> Layer:
    return {"comfy_quant": torch.tensor(list(json.dumps({"format": name, **settings}).encode()), dtype=torch.uint8)}


def _gguf(row: GgufFormat, source: Source, stem: Path) -> Path:
    layers, importance = selected(source.tensors), None
    if row.importance:
        seen = Calibration.load(source.calibration)
        importance = {layer: seen.mean_squares(layer) for layer in layers}
    return write_gguf(source.tensors, set(layers), row.type, stem.with_name(f"{stem.name}.gguf"), importance)


# kind -> (source, path without its ending) -> the file
WRITERS: dict[str, Callable[[Source, Path], Path]] = {
    **{name: partial(_layers, partial(_own, row)) for name, row in FORMATS.items() if not row.smooth},
    **{name: partial(_lightx2v, kind) for name, kind in FORMAT_KINDS.items()},
    "fp8-reduced": partial(_layers, _reduced),
    "fp8-block128": partial(_layers, partial(_marked, "block128", FORMATS["fp8-block128"].marker)),
    **{name: partial(_layers, partial(core_layer, row)) for name, row in CORE_FORMATS.items()},
    **{name: partial(_gguf, row) for name, row in GGUF_FORMATS.items()},
}
