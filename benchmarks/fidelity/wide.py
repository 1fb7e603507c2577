"""Single layers as wide as those of real models: what everybody's format leaves of their output. Needs ComfyUI on the
path."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace

import comfy.ops
import torch

from ...calibration.strength import SMOOTHING
from ...comparing.metrics import snr
from ...formats import FORMATS, UNSMOOTHED, fitting
from ...kernels.reference import reference
from ...rounding import METHODS, round_weight
from .bits import layer_bits
from .contestants import CORE, GGUF, ORIGINAL, OURS, Contestant
from .files import Tensors, core_layer
from .gguf_file import quantized
from .peers import CORE_FORMATS, GGUF_FORMATS
from .wide_layer import WIDTHS, Layer, Width

# of our rows; peers have none to choose from
KERNELS = ("", "dequant", "reference")

# (x [M, K], one of KERNELS) -> [M, ROWS]
Run = Callable[[torch.Tensor, str], torch.Tensor]


def measure(
    rows: Sequence[Contestant], widths: Sequence[Width] = WIDTHS, progress: Callable[[Sequence], Iterable] = iter
) -> list[dict]:
    """[{"name", "loader", "bits", "output_snr": {width's name: dB}}] of those of `rows` that differ here: quantized
    layers, of ours on KERNELS. bits: per weight, of the last of `widths`. progress: takes `widths`, gives them back."""
    shown = [row for row in rows if row.file != ORIGINAL and row.text == ORIGINAL and row.kernel in KERNELS]
    found = {row.name: {"name": row.name, "loader": row.loader, "bits": 0.0, "output_snr": {}} for row in shown}
    for width in progress(widths):
        layer, built = Layer(width), {}
        # what is made from one weight, for several kernels, is made once
        for row in sorted(shown, key=lambda row: (row.file, row.rounding)):
            if built.get("of") != (row.file, row.rounding):
                tensors, run = BUILD[row.loader](row, layer)
                built = {"of": (row.file, row.rounding), "bits": _bits(tensors) / layer.weight.numel(), "run": run}
            found[row.name]["bits"] = built["bits"]
            found[row.name]["output_snr"][width.name] = snr(layer.true, built["run"](layer.x, row.kernel))
    return list(found.values())


def _bits(tensors: Mapping[str, torch.Tensor]) -> int:
    return layer_bits(((f"layer.{name}", tensor.nbytes) for name, tensor in tensors.items()), ["layer"])


def _ours(row: Contestant, layer: Layer) -> tuple[Tensors, Run]:
    shape = tuple(layer.weight.shape)
    chosen = FORMATS[fitting(row.file, shape)]
    if row.rounding or chosen.smooth:
        method, curvatures = METHODS[row.rounding or "nearest"], layer.curvatures(chosen)
        factor = layer.factor(UNSMOOTHED[chosen.name], method.factor or SMOOTHING) if chosen.smooth else None
        tensors = round_weight(layer.weight, chosen.name, method, layer.inputs, factor, curvatures=curvatures)
        held = chosen.wrap(tensors, torch.float32, shape)
    else:
        held = chosen.quantize(layer.weight, torch.float32)

    def run(x: torch.Tensor, kernel: str) -> torch.Tensor:
        if kernel == "reference":
            return reference(x, chosen.name, held._qdata, held._params, None, chosen.activation)
        return x @ held.dequantize().t()

    return held.state_dict("weight"), run


def _core(row: Contestant, layer: Layer) -> tuple[Tensors, Run]:
    """By core's own layer, with the operations that it picks here."""
    tensors = core_layer(CORE_FORMATS[row.file], layer.weight)
    config = SimpleNamespace(quant_config={"mixed_ops": True})
    operations = comfy.ops.pick_operations(None, torch.float32, layer.weight.device, model_config=config)
    rows, columns = layer.weight.shape
    module = operations.Linear(columns, rows, bias=False, device=layer.weight.device, dtype=torch.float32)
    module.load_state_dict(dict(tensors))
    return tensors, lambda x, _: module(x)


def _gguf(row: Contestant, layer: Layer) -> tuple[Tensors, Run]:
    import gguf

    chosen = GGUF_FORMATS[row.file]
    kind = gguf.GGMLQuantizationType[chosen.type]
    importance = layer.inputs.mean_squares.numpy() if chosen.importance else None
    packed = quantized(layer.weight.numpy(), kind, importance)
    values = torch.from_numpy(gguf.quants.dequantize(packed, kind)).view_as(layer.weight)
    return {"weight": torch.from_numpy(packed)}, lambda x, _: x @ values.t()


BUILD: dict[str, Callable[[Contestant, Layer], tuple[Tensors, Run]]] = {OURS: _ours, CORE: _core, GGUF: _gguf}
