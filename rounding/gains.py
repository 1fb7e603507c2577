"""What a calibration would bring to a format: measured on the demo's model by `x2v-quant fidelity`.

tests/benchmarks/test_gains.py compares the figures with the rows of benchmarks/results/fidelity that are there, and
says what to write here after a new run.
"""

from collections import Counter
from dataclasses import dataclass

from ..formats import FORMATS, SMOOTHQUANT


@dataclass(frozen=True)
class Gain:
    """How far latents are off the 16-bit model's, in %; None for what was not measured yet. `without`: a calibration,
    as `auto` then rounds; `with_inputs`: by a calibration with inputs of layers, smoothed where the format can be, and
    with GPTQ; `smoothed`: by one without inputs, where the format can be smoothed; `weights_only`: without a
    calibration on a machine that cannot multiply the format, so that activations keep 16 bits."""

    without: float
    with_inputs: float | None = None
    smoothed: float | None = None
    weights_only: float | None = None


# family -> Gain; what is not in here was not measured yet
GAINS = {
    "int8-channel": Gain(2.9, 2.3, 2.5, 1.0),
    "int8-convrot": Gain(2.0, 1.6, 1.8, 1.1),
    "fp8-channel": Gain(6.9, 6.3, 7.4, 3.9),
    "int4-g128": Gain(14.3, 9.2),
    "int4-g128-convrot": Gain(13.6, 8.0),
    "awq-w4a16": Gain(12.2, 7.7),
    "nvfp4": Gain(26.0, 22.6, None, 15.7),
    "mxfp4": Gain(34.6, 31.5, None, 15.8),
    "mxfp6": Gain(10.2, 7.7, None, 8.0),
    "w4a8": Gain(10.9, 5.8, None, 10.8),
}


def gains(families: Counter[str], calibrated: bool) -> list[str]:
    """What recorded inputs would bring to the format of most layers. families: how many layers have a format of each.
    calibrated: whether there is a calibration, without inputs."""
    name = next((name for name, _ in families.most_common() if name in FORMATS and FORMATS[name].grid), None)
    if name is None:
        return []
    lacks = "this calibration has no inputs of layers. One with inputs" if calibrated else "a calibration (Calibrate)"
    more_exact = f"{lacks} makes {name} more exact"
    now, then = _figures(name, calibrated)
    if now is None or then is None:
        return [f"{more_exact}, by GPTQ"]
    than = "with this one" if calibrated else "without it"
    return [f"{more_exact}: in our test {then} % off the 16-bit model, and {now} % {than}"]


def _figures(name: str, calibrated: bool) -> tuple[float | None, float | None]:
    """(without inputs, with them), None for what is not known."""
    if name not in GAINS:
        return None, None
    gain = GAINS[name]
    if not calibrated:
        return gain.without, gain.with_inputs or gain.smoothed
    return (gain.smoothed if name in SMOOTHQUANT else gain.without), gain.with_inputs
