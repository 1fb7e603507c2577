"""The format that a machine computes in, for whoever asks for none."""

from collections.abc import Container

from .machine import Machine
from .registry import choose

# in order of preference: fp8 has a wide range for outliers among activations and should be as fast; of our demo model
# int8 was the more exact one
PREFERRED = ("fp8-channel", "int8-channel")


def native_format(machine: Machine, among: Container[str] = PREFERRED) -> str:
    """The first of PREFERRED that is `among` some and that `machine` multiplies without dequantizing; else the last,
    whose weights have the smaller error."""
    native = [name for name in PREFERRED if name in among and choose(name, machine).kernel.activation != "float"]
    return [*native, PREFERRED[-1]][0]
