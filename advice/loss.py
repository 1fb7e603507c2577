"""What a format loses, and the rounding with which it loses the least: by the table of what was measured."""

from dataclasses import dataclass

from ..rounding import method_for
from ..rounding.gains import GAINS
from ..rounding.methods import NOTHING


@dataclass(frozen=True)
class Loss:
    """`percent`: how far latents of the demo's model are off those of 16 bits, and `plain`: without a calibration.
    `rounding`: how the weights are rounded, in words. `calibrated`: whether that takes a calibration."""

    percent: float
    plain: float
    rounding: str
    calibrated: bool


NONE = Loss(0, 0, "none", False)
# formats whose loss was measured
FORMATS = tuple(GAINS)


def loss_of(format_name: str, weights_only: bool) -> Loss:
    """weights_only: on a machine that cannot multiply the format."""
    gain, plain = GAINS[format_name], method_for(format_name, None, NOTHING).name
    if weights_only and gain.weights_only is not None:
        return Loss(gain.weights_only, gain.weights_only, plain, False)
    if gain.with_inputs is not None:
        return Loss(gain.with_inputs, gain.without, "gptq", True)
    if gain.smoothed is not None:
        return Loss(gain.smoothed, gain.without, "smoothing", True)
    return Loss(gain.without, gain.without, plain, False)
