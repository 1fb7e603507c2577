"""What a calibration has of each layer's input, as rounding asks for it."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..rounding import LayerInputs, Method
from ..rounding.methods import MEANS, NOTHING, TOKENS
from .calibration import Calibration


@dataclass(frozen=True)
class Recorded:
    """`calibration`: None without one; then nothing was recorded of any layer."""

    calibration: Calibration | None = None

    def of(self, layer: str) -> str:
        """One of methods.RECORDED."""
        if self.calibration is None or layer not in self.calibration.maxima:
            return NOTHING
        seen = self.calibration.inputs.get(layer)
        return MEANS if seen is None or not seen.shape[0] else TOKENS

    def tokens(self, layer: str) -> int:
        """How many whole inputs there are."""
        return self.calibration.inputs[layer].shape[0] if self.of(layer) == TOKENS else 0

    def key(self, layer: str) -> str:
        """Equal for layers with the same input."""
        return layer if self.calibration is None else self.calibration.same_inputs(layer)

    def inputs(self, layer: str, method: Method | None = None) -> LayerInputs:
        """What the method needs, all that there is without one; tokens are read from their file now."""
        found = self.of(layer)
        if found == NOTHING or (method is not None and method.needs == NOTHING):
            return LayerInputs()
        squares = self.calibration.mean_squares(layer)
        if found == MEANS or (method is not None and method.needs == MEANS):
            return LayerInputs(mean_squares=squares)
        return LayerInputs(self.calibration.inputs_of(layer), squares, self.key(layer))

    def extent(self, layers: Iterable[str]) -> tuple[int, int]:
        """(calls of the model, the most tokens of one of `layers`); 0 without a calibration."""
        calls = 0 if self.calibration is None else self.calibration.calls
        return calls, max(map(self.tokens, layers), default=0)
