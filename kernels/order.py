"""Which kernel `auto` tries first, by format and compute capability: data, each row with its source."""

from dataclasses import dataclass

from ..formats import family
from .machine import Machine
from .winners import winner

# after everything else: they run anywhere
LAST = ("dequant", "reference")

LIGHTX2V = "LightX2V's guide for small machines: q8_kernels before sgl before vLLM on Ada, sgl before vLLM elsewhere"
# counted per element of the output: bytes that go to memory and come from it again
FUSED = "scales and bias in the product move 2 bytes (counted); tensor-wise torch._scaled_mm's passes 22, _int_mm's 26"
KITCHEN = "comfy-kitchen is ComfyUI's own and fused, where core leaves its CUDA backend on; then " + FUSED
HOPPER = "comfy-kitchen's code for 9.0 is without IGMMA (read compiled), Triton's 1.2 to 1.3 times as fast (estimated)"
UNMEASURED = "tuned libraries before our own Triton kernels, until `x2v-quant bench --kernels` says otherwise"


@dataclass(frozen=True)
class Order:
    """For a family of formats on GPUs of compute capability `first` to `last` (both included; None: every newer one),
    or, where `first` is None, on every machine. A name that cannot run is passed over, so a row lists what may exist,
    not what must."""

    family: str
    first: tuple[int, int] | None
    last: tuple[int, int] | None
    kernels: tuple[str, ...]
    source: str


# fp8 and int8 by what they cost: the row without a second pass first
FP8 = ("torch-rowwise", "triton", "torch-tensorwise")
INT8 = ("comfy-kitchen", "triton", "torch")
INT8_HOPPER = ("triton", "comfy-kitchen", "torch")

# the first row that covers the machine counts
ORDERS = (
    Order("fp8-channel", (8, 9), (8, 9), ("q8f", "sgl", "vllm", *FP8), f"{LIGHTX2V}; {FUSED}"),
    Order("fp8-channel", (9, 0), None, ("sgl", "vllm", *FP8), f"{LIGHTX2V}; {FUSED}"),
    # no fp8 here, and with a video's many tokens dequantizing once costs less than Triton's weight-only GEMM:
    # "torch-rowwise" stands for the reason why
    Order("fp8-channel", (8, 0), (8, 8), ("torch-rowwise",), "NVIDIA multiplies fp8 from compute capability 8.9 on"),
    Order("fp8-channel", None, None, FP8, FUSED),
    Order("int8-channel", (8, 9), (8, 9), ("q8f", "sgl", "vllm", *INT8), f"{LIGHTX2V}; {KITCHEN}"),
    Order("int8-channel", (9, 0), (9, 9), ("sgl", "vllm", *INT8_HOPPER), f"{LIGHTX2V}; {HOPPER}"),
    Order("int8-channel", (7, 5), None, ("sgl", "vllm", *INT8), f"{LIGHTX2V}; {KITCHEN}"),
    Order("int8-channel", None, None, ("sgl", "vllm", "comfy-kitchen", "torch", "triton"), UNMEASURED),
    Order("int8-convrot", (9, 0), (9, 9), INT8_HOPPER, HOPPER),
    Order("int8-convrot", (7, 5), None, INT8, KITCHEN),
    Order("int8-convrot", None, None, ("comfy-kitchen", "torch", "triton"), UNMEASURED),
    Order("w4a8", None, None, ("comfy-kitchen", "torch", "triton"), UNMEASURED),
    Order("convrot-w4a4", None, None, ("comfy-kitchen", "torch"), "it rotates in the pass that quantizes"),
    Order("fp8-block128", None, None, ("deepgemm", "sgl", "vllm", "torch", "triton"), UNMEASURED),
    Order("fp8-tensor", None, None, ("torch",), "static scales: torch._scaled_mm takes them as they are"),
    Order("int4-g128", None, None, ("marlin", "triton"), UNMEASURED),
    Order("awq-w4a16", None, None, ("triton",), UNMEASURED),
    Order("int4-g128-convrot", None, None, ("triton",), UNMEASURED),
    Order("mxfp8", None, None, ("comfy-kitchen",), "ComfyUI's own Blackwell kernels"),
    Order("mxfp4", None, None, ("triton",), "nothing else here multiplies it"),
    Order("mxfp6", None, None, ("triton",), "nothing else here multiplies it"),
    Order("nvfp4", None, None, ("comfy-kitchen",), "ComfyUI's own Blackwell kernels"),
)


def ranking(format_name: str, machine: Machine, shape: tuple[int, int] | None) -> list[str]:
    """Kernel names for `auto`, best first: the measured winner for this shape if one was saved, then ORDERS, then those
    that run anywhere."""
    measured = winner(format_name, machine, shape)
    listed = next((row.kernels for row in ORDERS if row.family == family(format_name) and _covers(row, machine)), ())
    return list(dict.fromkeys([*([measured] if measured else []), *listed, *LAST]))


def _covers(row: Order, machine: Machine) -> bool:
    if row.first is None:
        return True
    capability = machine.capability
    return capability is not None and row.first <= capability and (row.last is None or capability <= row.last)
