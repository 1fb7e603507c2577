"""Which kernel `auto` tries first, by format and compute capability: data, each row with its source."""

from dataclasses import dataclass

from ..formats import family
from .machine import Machine
from .winners import winner

# after everything else: they run anywhere
LAST = ("dequant", "reference")

LIGHTX2V = "LightX2V's guide for small machines: q8_kernels before sgl before vLLM on Ada, sgl before vLLM elsewhere"
FUSED = "its epilogue is fused, torch._int_mm's is a second pass over int32 accumulators"
UNMEASURED = "tuned libraries before our own Triton kernels, until `x2v-quant bench --kernels` says otherwise"


@dataclass(frozen=True)
class Order:
    """For a family of formats on GPUs of compute capability `first` to `last` (both included), or on every machine
    (None). A name that cannot run is passed over, so a row lists what may exist, not what must."""

    family: str
    first: tuple[int, int] | None
    last: tuple[int, int] | None
    kernels: tuple[str, ...]
    source: str


# the first row that covers the machine counts
ORDERS = (
    Order("fp8-channel", (8, 9), (8, 9), ("q8f", "sgl", "vllm", "torch", "triton"), LIGHTX2V),
    Order("fp8-channel", (9, 0), (12, 9), ("sgl", "vllm", "torch", "triton"), LIGHTX2V),
    # no fp8 here, and with a video's many tokens dequantizing once costs less than Triton's weight-only GEMM: "torch"
    # stands for the reason why
    Order("fp8-channel", (8, 0), (8, 8), ("torch",), "NVIDIA multiplies fp8 from compute capability 8.9 on"),
    Order("fp8-channel", None, None, ("torch", "triton"), UNMEASURED),
    Order("int8-channel", (8, 9), (8, 9), ("q8f", "sgl", "vllm", "comfy-kitchen", "torch", "triton"), LIGHTX2V),
    Order("int8-channel", None, None, ("sgl", "vllm", "comfy-kitchen", "torch", "triton"), FUSED),
    Order("int8-convrot", None, None, ("comfy-kitchen", "torch", "triton"), "comfy-kitchen is ComfyUI's own; " + FUSED),
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
    return machine.capability is not None and row.first <= machine.capability <= row.last
