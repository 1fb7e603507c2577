"""What a linear layer is compared with: name -> how to build one that runs, as a table."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import comfy.ops
import torch
from comfy.quant_ops import QUANT_ALGOS
from comfy_kitchen.tensor import get_layout_class
from torch.nn import Linear

from ..kernels import LIBRARIES
from ..kernels.machine import Machine, cpu_has_bf16

Run = Callable[[torch.Tensor], torch.Tensor]
# what activations of the benchmark reach at most, for ComfyUI's static scale of fp8 inputs
INPUT_SCALE = 8.0 / 448.0


@dataclass(frozen=True)
class Peer:
    """build(weight [N, K], bias [N], both float and of `dtype`) -> x [M, K] of that dtype -> [M, N].

    `dtype`: that of activations, None for the one that this machine computes in. why_not(machine): the reason why it
    does not run there, or None.
    """

    name: str
    build: Callable[[torch.Tensor, torch.Tensor], Run]
    dtype: torch.dtype | None = None
    why_not: Callable[[Machine], str | None] = lambda machine: None


def computing_dtype(machine: Machine) -> torch.dtype:
    """bfloat16 where the hardware multiplies it, else float32."""
    if machine.kind == "cpu":
        return torch.bfloat16 if cpu_has_bf16() else torch.float32
    return torch.bfloat16


def _torch(weight: torch.Tensor, bias: torch.Tensor) -> Run:
    return lambda x: torch.nn.functional.linear(x, weight, bias)


def core_linear(weight: torch.Tensor, bias: torch.Tensor, algorithm: str, quantize: dict, extra: dict) -> Run:
    """ComfyUI's own quantized layer, with the operations that core picks here and a weight that its layout quantized.

    algorithm: a key of core's QUANT_ALGOS; quantize: arguments of its layout's quantize(); extra: more tensors of the
    layer, as a file would have them.
    """
    config = SimpleNamespace(quant_config={"mixed_ops": True})
    operations = comfy.ops.pick_operations(None, weight.dtype, weight.device, model_config=config)
    layout = get_layout_class(QUANT_ALGOS[algorithm]["comfy_tensor_layout"])
    codes, params = layout.quantize(weight, **quantize)
    layer = operations.Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    marker = torch.frombuffer(bytearray(json.dumps({"format": algorithm}).encode()), dtype=torch.uint8)
    tensors = {"weight": codes, "weight_scale": params.scale, "comfy_quant": marker, "bias": bias, **extra}
    layer.load_state_dict(tensors)
    return layer


CORE_INT8 = {"algorithm": "int8_tensorwise", "quantize": {"is_weight": True, "per_channel": True}, "extra": {}}
CORE_FP8 = {
    "algorithm": "float8_e4m3fn",
    "quantize": {"scale": "recalculate"},
    "extra": {"input_scale": torch.tensor(INPUT_SCALE)},
}


def _torchao(weight: torch.Tensor, bias: torch.Tensor, compiled: bool) -> Run:
    """torchao's documented way: quantize_ on a module, eager or compiled."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    layer = Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (torch.nn.Parameter(tensor, requires_grad=False) for tensor in (weight, bias))
    quantize_(layer, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    if not compiled:
        return layer
    torch.compiler.reset()  # layers share their code, and after a few shapes torch would go back to eager mode
    return torch.compile(layer, fullgraph=True, dynamic=False)


def lacks_torchao(machine: Machine) -> str | None:
    return LIBRARIES["torchao"].problem(machine)


def _cannot_compile(machine: Machine) -> str | None:
    if machine.kind != "cuda":
        return "is measured on GPUs only: there torch.compile fuses what eager mode runs in several passes"
    return lacks_torchao(machine) or LIBRARIES["triton"].problem(machine)


PEERS = (
    Peer("torch bf16", _torch, torch.bfloat16),
    Peer("torch fp32", _torch, torch.float32),
    Peer("ComfyUI int8", partial(core_linear, **CORE_INT8)),
    Peer("ComfyUI fp8", partial(core_linear, **CORE_FP8)),
    Peer("torchao int8", partial(_torchao, compiled=False), why_not=lacks_torchao),
    Peer("torchao int8, compiled", partial(_torchao, compiled=True), why_not=_cannot_compile),
)
