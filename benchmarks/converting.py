"""What the pack converts at load: between formats, and bfloat16 into each format, in MB/s of what is read."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from comfy.quant_ops import QUANT_ALGOS
from comfy_kitchen.tensor import QuantizedTensor, get_layout_class
from torch.nn import Linear

from ..formats import FORMATS, fitting
from ..formats.convert import convert
from ..kernels.machine import Machine, default_device, describe
from ..kernels.timing.case import Case
from ..kernels.timing.clock import FULL, Effort, measure
from .case import missing, throughput
from .peers import CORE_FP8, CORE_INT8, lacks_torchao
from .shapes import WAN_1_3B

PART = "converting"
SOURCE = torch.bfloat16
SHAPE, QUICK_SHAPE = (WAN_1_3B.mlp, WAN_1_3B.width), (256, 256)
Weight = torch.Tensor | QuantizedTensor


@dataclass(frozen=True)
class Peer:
    """prepare(weight) -> what does the same work on it; `weight` as our side gets it."""

    name: str
    prepare: Callable[[Weight], Callable[[], object]]
    why_not: Callable[[Machine], str | None] = lambda machine: None


def _copy(weight: Weight) -> Callable[[], object]:
    """The floor: the same bytes, moved."""
    stored = weight._qdata if isinstance(weight, QuantizedTensor) else weight
    return stored.clone


def _core(weight: Weight, algorithm: str, quantize: dict, extra: dict) -> Callable[[], object]:
    """ComfyUI's layout of that name; a weight in its own fp8 is dequantized by its own layout first."""
    layout = get_layout_class(QUANT_ALGOS[algorithm]["comfy_tensor_layout"])
    if not isinstance(weight, QuantizedTensor):
        return lambda: layout.quantize(weight, **quantize)
    return lambda: layout.quantize(weight.dequantize(), **quantize)


def _core_from_fp8(weight: Weight) -> Callable[[], object]:
    fp8 = QUANT_ALGOS["float8_e4m3fn"]["comfy_tensor_layout"]
    codes, params = get_layout_class(fp8).quantize(weight.dequantize(), scale="recalculate")
    return _core(QuantizedTensor(codes, fp8, params), **CORE_INT8)


def _torchao(weight: Weight, config: str) -> Callable[[], object]:
    """torchao's documented way, quantize_ on a module."""
    from torchao import quantization

    def run():
        layer = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
        layer.weight = torch.nn.Parameter(weight, requires_grad=False)
        quantization.quantize_(layer, getattr(quantization, config)(set_inductor_config=False))
        return layer.weight

    return run


COPY = Peer("copying the bytes", _copy)
CORE = {
    "int8": Peer("ComfyUI", partial(_core, **CORE_INT8)),
    "fp8": Peer("ComfyUI", partial(_core, **CORE_FP8)),
    "fp8 to int8": Peer("ComfyUI", _core_from_fp8),
}
AO_INT8 = Peer("torchao", partial(_torchao, config="Int8DynamicActivationInt8WeightConfig"), lacks_torchao)
AO_FP8 = Peer("torchao", partial(_torchao, config="Float8WeightOnlyConfig"), lacks_torchao)

# who else makes the format out of bfloat16; nobody else makes the others, or they are core's own layouts
QUANTIZERS = {"int8-channel": (CORE["int8"], AO_INT8), "fp8-channel": (AO_FP8,), "fp8-tensor": (CORE["fp8"],)}
# of formats that differ in their groups that with core's own
PLAIN = [name for name, row in FORMATS.items() if not row.smooth and (name == row.family or not row.settings)]
# (what is held, None for bfloat16; what it becomes; who else does that)
CONVERSIONS: tuple[tuple[str | None, str, tuple[Peer, ...]], ...] = (
    *((None, name, (*QUANTIZERS.get(name, ()), COPY)) for name in PLAIN),
    ("fp8-channel", "int8-channel", (CORE["fp8 to int8"], COPY)),
    ("fp8-channel-smooth", "int8-channel-smooth", (COPY,)),
    ("fp8-tensor", "int8-channel", (CORE["fp8 to int8"], COPY)),
    ("fp8-block128", "int8-channel", (COPY,)),
    ("fp8-channel", "fp8-reduced", (COPY,)),
    ("int4-g128", "int4-g128-marlin", (COPY,)),
    ("int4-g128-marlin", "int4-g128", (COPY,)),
)


@torch.inference_mode()
def cases(effort: Effort = FULL) -> list[Case]:
    """A case per conversion and peer, in MB/s of the source's codes, on a feed-forward weight of Wan 1.3B."""
    device = default_device()
    machine = describe(device)
    shape = QUICK_SHAPE if effort.quick else SHAPE
    dense = (torch.randn(shape, device=device) / shape[1] ** 0.5).to(SOURCE)
    result = []
    for held, target, peers in CONVERSIONS:
        what = f"{held or 'bf16'} to {target}, {shape[0]}x{shape[1]}"
        weight = dense if held is None else FORMATS[held].quantize(dense, SOURCE)
        codes = weight._qdata if isinstance(weight, QuantizedTensor) else weight
        megabytes = codes.numel() * codes.element_size() / 1e6
        reasons = {peer: peer.why_not(machine) for peer in peers}
        runs = {peer.name: peer.prepare(weight) for peer in peers if reasons[peer] is None}
        times = measure({"ours": _ours(weight, target), **runs}, effort)
        for peer in peers:
            if reasons[peer] is None:
                result.append(throughput(PART, what, peer.name, megabytes, times["ours"], times[peer.name]))
            else:
                rate = megabytes / times["ours"].median
                result.append(missing(PART, what, peer.name, rate, "MB/s", reasons[peer]))
    return result


def _ours(weight: Weight, target: str) -> Callable[[], object]:
    if isinstance(weight, QuantizedTensor):
        return lambda: convert(weight, target)
    return lambda: FORMATS[fitting(target, tuple(weight.shape))].quantize(weight, SOURCE)
