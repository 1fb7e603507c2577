"""How the layers of one conversion are rounded: the method of each, by what was recorded of its inputs."""

from collections.abc import Iterator, Mapping
from functools import partial

import torch

from ..calibration import Calibration
from ..calibration.recorded import Recorded
from ..calibration.strength import FORMULAS, SMOOTHING
from ..checkpoints.checkpoint import StoredWeight
from ..checkpoints.encodings import X2V
from ..formats import FORMATS, UNSMOOTHED
from ..rounding import AUTO, METHODS, Method, method_for
from ..rounding.curvature import Curvatures
from ..rounding.estimate import Work
from ..rounding.methods import NOTHING, TOKENS
from ..rounding.weight import factor_key
from .errors import ConvertError
from .rounded_rows import is_plain, rounded_in_parts
from .rows import Rows, in_parts
from .trial import Bases, Trial

# the method that does the same as AWQ's behind its factor
WITHOUT_FACTOR = "weighted"
RECORD = (
    "Record some with the nodes Calibrate (tokens per layer: 2048) and Finish Calibration, and add --calibration FILE; "
    "or leave --rounding out."
)


class LayerRounding:
    """chosen: one of rounding.CHOICES. calibration: with the names of the layers that are written, or None. `formulas`:
    of calibration.strength.FORMULAS, by which factors are looked for. `recorded`: what there is of each layer's input.
    Raises ConvertError for a method that needs what was not recorded, and for one whose factors the dialect has no
    place for."""

    def __init__(self, chosen: str, calibration: Calibration | None, dialect: str):
        self._chosen = None if chosen == AUTO else METHODS[chosen]
        self._calibration = calibration
        self.recorded = Recorded(calibration)
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

    def method(self, layer: str, format_name: str) -> Method:
        return method_for(UNSMOOTHED.get(format_name, format_name), self._chosen, self.recorded.of(layer))

    def done(self, layer: str, format_name: str, has_factor: bool) -> Method:
        """`method`, under the name of what it is without a factor where the layer has none."""
        method = self.method(layer, format_name)
        return method if has_factor or not method.factor else METHODS[WITHOUT_FACTOR]

    def shared_by(
        self, methods: Mapping[str, Method], formats: Mapping[str, str], factors: Mapping[str, torch.Tensor]
    ) -> dict[str, tuple]:
        """Layer -> a key, of those that are rounded by whole inputs: equal where these, and the basis in which they
        count, are the same (Curvatures). Arguments: by layer."""
        found = {}
        for layer, method in methods.items():
            if method.needs == TOKENS:
                factor = factors.get(layer)
                basis = (FORMATS[formats[layer]].rotation, None if factor is None else factor_key(factor))
                found[layer] = (self.recorded.key(layer), *basis)
        return found

    def takes_factors(self, format_name: str) -> bool:
        """Whether factors are looked for, for a layer of this format."""
        return any(format_name in FORMULAS[formula].formats for formula in self.formulas)

    def check_fits(self, shapes: Mapping[str, tuple[int, int]]) -> None:
        """Raise CalibrationError for a calibration of another model. shapes: layer -> (N, K)."""
        if self._calibration is not None:
            self._calibration.check_fits({layer: shape[1] for layer, shape in shapes.items()})

    def work(self, layer: str, shape: tuple[int, int], format_name: str) -> Work:
        """What rounding the layer will be, for an estimate."""
        method = self.method(layer, format_name)
        if is_plain(format_name, method):
            return Work(shape, None)
        grid = FORMATS[UNSMOOTHED.get(format_name, format_name)].grid
        tokens = self.recorded.tokens(layer) if method.rounding == "gptq" else 0
        return Work(shape, grid, tokens, self.recorded.key(layer))

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
            yield from rounded_in_parts(*work, method, self.recorded.inputs(layer, method), self._curvatures)

    def trial(self, layer: str) -> Trial:
        """The rounding of some rows of the layer, to see what comes of it."""
        return Trial(partial(self.method, layer), self.recorded.inputs(layer), self._tried)
