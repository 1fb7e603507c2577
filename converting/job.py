"""What one conversion writes: the format of every layer, and the units that make its tensors."""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch

from ..calibration.strength import FORMULAS
from ..checkpoints.encodings import LIGHTX2V, X2V
from ..checkpoints.expert_names import expert_of
from ..checkpoints.markers import HEADER_KEY
from ..families.family import DIT
from ..formats import FORMATS, SMOOTHED, fitting
from ..layer_rules.overrides import KEEP
from ..layer_rules.shapes import why_not
from ..rounding import Method
from ..rounding.estimate import Work
from ..rounding.record import KEY, most_bytes
from . import rounding_notes, search, smooth
from .dialects import choices, writable
from .errors import ConvertError
from .file_record import file_record, scale_types
from .foreseen import Foreseen, foreseen
from .layer_formats import WEIGHT, LayerFormats
from .layer_rounding import LayerRounding
from .measuring import Layer, Measured, candidates, measure, stored_bytes
from .options import Options
from .outputs import left_out, outputs
from .progress import Progress, Steps
from .renaming import renamed, unknown
from .source import Source
from .unit_making import UnitMaking
from .units import Unit, in_order
from .values import Values
from .weights import Weights

# type of LightX2V's affine_norms
NORMS = torch.bfloat16


class Job:
    """`formats`: layer -> format, of all that come out quantized; `kept`: the others, with the reason;
    `selection`: what the rules said; `chosen`: what a search found (search.described); `methods`: layer -> method, of
    those that are rounded, and are not in the source as they will be; `notes`: what there is to say. Before `measure`
    only what follows from names, shapes and options is known. Raises ConvertError, RuleError or CalibrationError for
    what cannot be done."""

    def __init__(self, source: Source, options: Options):
        self._source, self._options = source, options
        self._checkpoint = source.checkpoint
        self._weights = Weights(source)
        self._outputs = outputs(self._checkpoint, options.dialect)
        self.notes = [*self._checkpoint.notes, *left_out(self._checkpoint, options.dialect)]
        self._values = Values(self._weights, self._read_loras(), self._checkpoint.path.name)
        self._calibration = options.calibration and renamed(options.calibration, self._outputs)
        self.notes += unknown(options.calibration, self._outputs) if options.calibration else []
        self.rounding = LayerRounding(options.rounding, self._calibration, options.dialect)
        self._units = UnitMaking(source, self._weights, self._values, self.rounding, options)
        self._asked = LayerFormats(source, self._weights, self._outputs, options)
        self._layers, self._shapes = self._asked.layers, self._asked.shapes
        self.selection, self.formats = self._asked.selection, self._asked.formats
        self.kept = self.selection.kept
        self.factors: smooth.Factors = {}
        self.chosen: dict[str, dict] = {}
        self.methods: dict[str, Method] = {}
        self.rounding.check_fits({layer: self._shapes[layer] for layer in self.formats})

    def foreseen(self) -> Foreseen:
        """What there is to compute, before a weight is looked at."""
        options, searched = self._options, self._searched() if self._options.searches else {}
        asked = {
            layer: name
            for layer, name in self.formats.items()
            if layer not in searched and not self._units.stays(self._layers[layer], name, None)
        }
        formats = candidates(options.candidates, options.dialect) if searched else ()
        return foreseen(self.rounding, self._shapes, asked, searched, formats, options.smooths)

    def measure(self, progress: Progress = lambda done, total: None) -> None:
        """Find out from the weights what has to be known before any is written: formats, factors and methods. progress:
        the bytes that are measured, if any."""
        options = self._options
        searched = self._searched() if options.searches else {}
        formats = candidates(options.candidates, options.dialect) if options.searches else ()
        smoothable = [name for name in formats if options.smooths and self.rounding.takes_factors(name)]
        # where some are searched, what the calibration knows of those is what tells whether it is of this model
        known = self._calibration.maxima if searched and options.smooths else self.formats
        others = [layer for layer in self.formats if layer not in searched and layer in known and options.smooths]
        passes = {**dict.fromkeys(searched, 1 + len(smoothable)), **dict.fromkeys(others, 1)}
        sizes = {layer: self._units.plain(self._layers[layer]).nbytes for layer in passes}
        steps = Steps(progress, sum(sizes[layer] * times for layer, times in passes.items()))

        def advance(layer: str) -> None:
            steps.advance(sizes[layer])

        if options.searches:
            factors = self._factors_of(searched, smoothable, advance)
            measured = measure(searched, formats, options.dialect, self._calibration, advance, factors, self.rounding)
            self._choose(measured, factors)
        self._check_dialect()
        if options.smooths:
            self._smooth({layer: self.formats[layer] for layer in others}, advance)
        if options.searches or options.smooths:
            steps.finish()
        self.methods = {
            layer: self.rounding.done(layer, name, layer in self.factors or FORMATS[name].smooth)
            for layer, name in self.formats.items()
            if not self._units.stays(self._layers[layer], name, self.factors.get(layer))
        }
        self.notes += rounding_notes.notes(self.formats, self.methods, options, self.rounding)

    def works(self) -> dict[str, Work]:
        """What is rounded otherwise than to the nearest makes of a conversion: layer -> work, of all that are rounded;
        empty if nothing is."""
        found = {layer: self.rounding.work(layer, self._shapes[layer], self.formats[layer]) for layer in self.methods}
        return found if any(work.grid is not None for work in found.values()) else {}

    def units(self) -> list[Unit]:
        """In the source's order; behind a layer that is rounded by its inputs, the others with the same inputs."""
        found = []
        for output in self._outputs.values():
            layer = output.name.removesuffix(WEIGHT)
            if output.name.endswith(WEIGHT) and layer in self.formats:
                found.append(self._units.layer(layer, output, self.formats[layer], self.factors.get(layer)))
            else:
                found.append(self._units.plain(output))
        if self._options.dialect == LIGHTX2V:
            found += smooth.norm_units(self.factors, self._shapes, self.formats, NORMS)
            found = [unit.under(self._checkpoint.told.variant.lightx2v.prefix) for unit in found]
        return in_order(found, self.rounding.shared_by(self.methods, self.formats, self.factors))

    def metadata(self, units: Iterable[Unit] = ()) -> dict[str, str]:
        """The source's, without what it says of its own quantization, and what is done to the weights of `units`."""
        gone = (HEADER_KEY, "quantization_profile", "weight_qmax", KEY)
        kept = {key: text for key, text in self._checkpoint.metadata.items() if key not in gone}
        types = scale_types(units, self.formats, self._layers, self.methods, self._options.dialect)
        layers, recorded = self._layers, self.rounding.recorded
        made = (self._checkpoint, self._weights, layers, self.formats, self.methods, self.factors, recorded, types)
        return kept | file_record(*made).metadata()

    def _read_loras(self):
        """lora.LoRAs, or an empty dict."""
        if not self._options.loras:
            return {}
        if self._checkpoint.kind != DIT:
            raise ConvertError(f"{self._checkpoint.path.name} is no diffusion model: LoRAs are merged into those only.")
        from .lora import LoRAs

        whole = {output.whole.name: output.whole for output in self._outputs.values()}
        loras = LoRAs(self._options.loras, whole, expert_of(str(self._checkpoint.path)))
        self.notes += loras.notes
        return loras

    def _searched(self) -> dict[str, Layer]:
        """All but those of an override and those that the source has quantized; with the same inputs one after the
        other."""
        places: dict[str, int] = {}
        key = self.rounding.recorded.key
        names = sorted(self._layers, key=lambda layer: places.setdefault(key(layer), len(places)))
        return {
            layer: Layer(
                output.shape,
                partial(self._values.rows, output),
                self._values.place(output),
                self._units.plain(output).specs,
                self._weights.scale_dtype(output),
            )
            for layer, output in ((name, self._layers[name]) for name in names)
            if layer in self.formats and not self._asked.overridden(layer) and self._weights.format(output) is None
        }

    def _choose(self, measured: Measured, factors: Mapping[str, smooth.Factors]) -> None:
        """Give every measured layer the format that the search finds for it, and the factor (format -> layer -> factor)
        that it was measured with."""
        options = self._options
        others = sum(stored_bytes(unit.specs) for unit in self.units() if unit.name not in measured)
        others += len(json.dumps(self.metadata())) + most_bytes(measured)
        together = []
        if options.dialect == LIGHTX2V:
            any_format = {layer: factor for found in factors.values() for layer, factor in found.items()}
            others += sum(stored_bytes(unit.specs) for unit in smooth.norm_units(any_format, self._shapes, {}, NORMS))
            together = [group for group in smooth.behind_norms(measured) if group[0] in any_format]
        found = search.search(measured, others, options.target_snr, options.target_size, together)
        self.kept = self.kept | {layer: search.KEPT for layer, choice in found.items() if choice == KEEP}
        self.formats = {layer: found.get(layer, name) for layer, name in self.formats.items()}
        self.formats = {layer: name for layer, name in self.formats.items() if name != KEEP}
        self.factors = {layer: factors[name][layer] for layer, name in found.items() if layer in factors.get(name, {})}
        self.chosen = search.described(measured, found)

    def _smooth(self, others: Mapping[str, str], advance: Callable[[str], None]) -> None:
        """Find the factors of `others` (layer -> format), which no search has measured; layers that the dialect marks
        as smoothed change their format."""
        self.factors |= self._found(others, advance)
        if any(map(self.rounding.takes_factors, others.values())):
            self.notes.append(f"{len(self.factors)} of {len(self.formats)} layers are more exact with smoothing")
        if self._options.dialect == LIGHTX2V:
            self.notes += [smooth.NEEDS_CONFIG] if self.factors else []
        else:
            self.formats.update({layer: SMOOTHED[self.formats[layer]] for layer in self.factors})

    def _found(self, formats: Mapping[str, str], advance: Callable[[str], None]) -> smooth.Factors:
        """Layer -> what its columns are divided by, of those in `formats` (layer -> format)."""
        options, found = self._options, {}
        for formula in self.rounding.formulas:
            of_one = {layer: name for layer, name in formats.items() if name in FORMULAS[formula].formats}
            work = (self._calibration, of_one, self._weight_of, options.dialect, options.alpha, advance, formula)
            found |= smooth.factors(*work)
        return found

    def _factors_of(
        self, searched: Mapping[str, Layer], names: Iterable[str], advance: Callable[[str], None]
    ) -> dict[str, smooth.Factors]:
        """Format, with the groups that fit a layer -> what `_found` says of the layers that can be it."""
        factors: dict[str, smooth.Factors] = {}
        for name in names:
            fitted = {
                layer: fitting(name, one.shape) for layer, one in searched.items() if why_not(name, one.shape) is None
            }
            for layer, factor in self._found(fitted, advance).items():
                factors.setdefault(fitted[layer], {})[layer] = factor
        return factors

    def _weight_of(self, layer: str) -> torch.Tensor:
        return self._values.whole(self._layers[layer])

    def _check_dialect(self) -> None:
        known = writable(self._options.dialect)
        wrong = next((layer for layer, name in self.formats.items() if name not in known), None)
        if wrong is not None:
            raise ConvertError(
                f"{wrong} would be {self.formats[wrong]}, which the dialect {self._options.dialect} does not have: "
                f"choose one of {', '.join(choices(self._options.dialect))}, or the dialect {X2V}, which has every "
                "format."
            )
