"""What is known of ComfyUI's layers, under the names that a dialect has for them."""

from collections.abc import Mapping
from dataclasses import replace

from ..calibration import Calibration
from .outputs import Output

WEIGHT = ".weight"


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
