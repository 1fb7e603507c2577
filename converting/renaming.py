"""What is known of ComfyUI's layers, under the names that a dialect has for them."""

from collections.abc import Mapping
from dataclasses import replace

from ..calibration import Calibration
from .outputs import Output

WEIGHT = ".weight"


def unknown(calibration: Calibration, outputs: Mapping[str, Output]) -> list[str]:
    """What to say of a calibration with layers that the model lacks, as one of image to video has for text to video."""
    there = {output.whole.name.removesuffix(WEIGHT) for output in outputs.values()}
    missing = [layer for layer in calibration.maxima if layer not in there]
    if not missing or len(missing) == len(calibration.maxima):
        return []
    what = f"{len(missing)} layer{'s' * (len(missing) != 1)}"
    return [
        f"the calibration has {what} that this model lacks, {missing[0]} for instance: if it was recorded on another "
        "model, calibrate this one"
    ]


def renamed(calibration: Calibration, outputs: Mapping[str, Output]) -> Calibration:
    """What the calibration has seen of every layer, for those that become of it; layers cut from one get what that one
    gets. What is no layer of `outputs` keeps its name."""
    seen = (dict(calibration.maxima), dict(calibration.squares), dict(calibration.tokens), dict(calibration.inputs))
    for name, output in outputs.items():
        layer, ours = name.removesuffix(WEIGHT), output.whole.name.removesuffix(WEIGHT)
        for known in seen:
            if layer != ours and name.endswith(WEIGHT) and ours in known:
                known[layer] = known[ours]
    maxima, squares, tokens, inputs = seen
    return replace(calibration, maxima=maxima, squares=squares, tokens=tokens, inputs=inputs)
