"""fp8 on RTX 40 and 50: multiplied into float32 sums at half the rate of int8, and what runs at the whole rate."""

import re
from dataclasses import dataclass

from ..kernels import Kernel
from ..kernels.machine import Machine

# GeForce only: cards for workstations ("RTX 5000 Ada") have the whole rate (NVIDIA's white papers on Ada and Blackwell)
CARDS = re.compile(r"\bRTX (40[5-9]0|50[5-9]0)\b")
# float16 sums, and sums of which nothing is known
OTHER_SUMS = ("triton-f16", "q8f")


@dataclass(frozen=True)
class Faster:
    """A format that these cards multiply at twice the rate, and the kernels that do without a second pass over memory,
    which would take the gain away. `off`: how far the demo model's latents are from the unquantized ones."""

    format: str
    kernels: tuple[str, ...]
    off: float


# nearest first, by docs/figures.md: the rows of int8-convrot and, for fp8-channel, of fp8-reduced
FASTER = (
    Faster("int8-convrot", ("comfy-kitchen", "triton"), 0.0204),
    Faster("fp8-channel", ("triton-f16",), 0.0728),
)


def at_half_rate(kernel: Kernel, machine: Machine) -> bool:
    """Whether `kernel` sums products of fp8 in float32 on one of these cards."""
    halved = machine.nvidia and CARDS.search(machine.name) is not None
    return halved and kernel.activation.startswith("fp8") and kernel.name not in OTHER_SUMS
