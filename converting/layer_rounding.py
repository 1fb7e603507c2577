"""How the layers of one conversion are rounded: the method of each, by what was recorded of its inputs."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial

import torch

from ..calibration import Calibration
from ..calibration.strength import SMOOTHING
from ..checkpoints.checkpoint import StoredWeight
from ..checkpoints.encodings import X2V
from ..formats import FORMATS, UNSMOOTHED
from ..rounding import AUTO, METHODS, LayerInputs, Method, method_for
from ..rounding.curvature import Curvatures
from ..rounding.estimate import Work
from ..rounding.methods import MEANS, NOTHING, TOKENS
from .errors import ConvertError
from .rounded_rows import is_plain, rounded_in_parts
from .rows import Rows, in_parts
from .trial import Bases, Trial

RECORD = (
    "Record some with the nodes Calibrate (tokens per layer: 2048) and Finish Calibration, and add --calibration FILE; "
    "or leave --rounding out."
)


class LayerRounding:
    """chosen: one of rounding.CHOICES. calibration: with the names of the layers that are written, or None. `formulas`:
    of calibration.strength.FORMULAS, by which factors are looked for. Raises ConvertError for a method that needs what
    was not recorded, and for one whose factors the dialect has no place for."""

    def __init__(self, chosen: str, calibration: Calibration | None, dialect: str):
        self._chosen = None if chosen == AUTO else METHODS[chosen]
        self._calibration = calibration
        # layers with one input come one after the other, in files as in a model
        self._curvatures = Curvatures()
        self._tried = Bases()
        if self._chosen is not None:
            self._check(self._chosen, dialect)
        own = self._chosen.factor if self._chosen is not None else ""
        self.formulas = tuple(filter(None, (SMOOTHING, own)))

    def _check(self, method: Method, dialect: str) -> None:
        if method.factor and dialect != X2V:
            raise ConvertError(
                f"--rounding {method.name} stores a factor for each channel, for which the dialect {dialect} has no "
                f"place: choose the dialect {X2V}, or another rounding."
            )
        if method.needs != NOTHING and self._calibration is None:
            raise ConvertError(
                f"--rounding {method.name} goes by inputs of the layers, and no calibration is given. {RECORD}"
            )
        if method.needs == TOKENS and not self._calibration.inputs:
            raise ConvertError(
                f"--rounding {method.name} needs whole inputs of layers, and the calibration has only largest values. "
                f"{RECORD}"
            )

    def recorded(self, layer: str) -> str:
        """One of methods.RECORDED."""
        if self._calibration is None or layer not in self._calibration.maxima:
            return NOTHING
        return TOKENS if layer in self._calibration.inputs else MEANS

    def tokens(self, layer: str) -> int:
        """How many were recorded of the layer's input."""
        return self._calibration.inputs[layer].shape[0] if self.recorded(layer) == TOKENS else 0

    def input_of(self, layer: str) -> str:
        """Equal for layers with the same input."""
        return layer if self._calibration is None else self._calibration.same_inputs(layer)

    def method(self, layer: str, format_name: str) -> Method:
        return method_for(UNSMOOTHED.get(format_name, format_name), self._chosen, self.recorded(layer))

    def check_fits(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        """Raise CalibrationError for a calibration of another model. shapes: layer -> (N, K)."""
        if self._calibration is not None:
            self._calibration.check_fits({layer: shape[1] for layer, shape in shapes.items()})

    def calibrated(self, layers: Iterable[str]) -> tuple[int, int]:
        """(calls of the model that were recorded, the most inputs that there are of one of `layers`)."""
        calls = 0 if self._calibration is None else self._calibration.calls
        return calls, max(map(self.tokens, layers), default=0)

    def work(self, layer: str, shape: tuple[int, int], format_name: str) -> Work:
        """What rounding the layer will be, for an estimate."""
        method = self.method(layer, format_name)
        if is_plain(format_name, method):
            return Work(shape, None)
        grid = FORMATS[UNSMOOTHED.get(format_name, format_name)].grid
        made_up_for = method.rounding == "gptq"
        return Work(shape, grid, self.tokens(layer) if made_up_for else 0, self.input_of(layer))

    def parts(
        self,
        layer: str,
        rows: Rows,
        shape: tuple[int, int],
        format_name: str,
        place: str,
        scale_dtype: torch.dtype,
        factor: torch.Tensor | None,
    ) -> Iterator[StoredWeight]:
        """As rows.in_parts, by the layer's method."""
        method = self.method(layer, format_name)
        work = (rows, shape, format_name, place, scale_dtype, factor)
        if is_plain(format_name, method):
            yield from in_parts(*work)
        else:
            yield from rounded_in_parts(*work, method, self._inputs(layer, method), self._curvatures)

    def trial(self, layer: str) -> Trial:
        """The rounding of some rows of the layer, to see what comes of it."""
        inputs = LayerInputs()
        if self.recorded(layer) != NOTHING:
            inputs = LayerInputs(
                self._calibration.inputs_of(layer), self._calibration.mean_squares(layer), self.input_of(layer)
            )
        return Trial(partial(self.method, layer), inputs, self._tried)

    def _inputs(self, layer: str, method: Method) -> LayerInputs:
        """What the method needs, read now."""
        if method.needs == NOTHING:
            return LayerInputs()
        squares = self._calibration.mean_squares(layer)
        if method.needs == MEANS:
            return LayerInputs(mean_squares=squares)
        return LayerInputs(self._calibration.inputs_of(layer), squares, self._calibration.same_inputs(layer))
