"""What one conversion writes: the format of every layer, and the units that make its tensors."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import torch

from ..checkpoints.checkpoint import HeldWeight
from ..checkpoints.kinds import DIT
from ..checkpoints.markers import HEADER_KEY
from ..formats import FORMATS, SMOOTHED, family, repackings
from ..layer_rules import select
from ..layer_rules.overrides import KEEP
from . import search, smooth
from .dialects import layer_specs, layer_tensors, writable
from .errors import ConvertError
from .measuring import Layer, candidates, measure, stored_bytes
from .options import KEPT, Options
from .outputs import COMFYUI, LIGHTX2V, Output, outputs
from .rows import Rows, quantize
from .source import Source
from .units import Spec, Unit
from .weights import Weights

WEIGHT = ".weight"
# the format with a static scale of the activations
STATIC = "fp8-tensor"
FLOATS = ("float32", "bfloat16", "float16", "float64")
# stands for what a search will find: every shape can be it
ANY_SHAPE = "int8-channel"


class Job:
    """`formats`: layer -> format, of all that come out quantized; `kept`: the others, with the reason;
    `selection`: what the rules said; `chosen`: what a search found (search.described); `notes`: what there is to say.
    Raises ConvertError, RuleError or CalibrationError for what cannot be done."""

    def __init__(self, source: Source, options: Options, progress: Callable[[int, int], None]):
        self._source, self._options = source, options
        self._checkpoint = source.checkpoint
        self._weights = Weights(source)
        self._outputs = outputs(self._checkpoint, options.dialect)
        self.notes = list(self._checkpoint.notes)
        self._loras = self._read_loras()
        weights = [output for output in self._outputs.values() if self._is_layer(output)]
        self._layers = {output.name.removesuffix(WEIGHT): output for output in weights}
        self._shapes = {name: output.shape for name, output in self._layers.items()}
        wanted = ANY_SHAPE if options.searches else options.format or self._source_format()
        self.selection = select(self._shapes, list(self._outputs), wanted, options.overrides)
        self.formats = self._formats()
        if not self.formats:
            raise ConvertError(
                f"{self._checkpoint.path.name} has no layer to quantize: all of its {len(weights)} linear layers are "
                'kept. Say which ones with lines like "blocks.*.ffn.* = int8-channel".'
            )
        self.kept = self.selection.kept
        self.factors: smooth.Factors = {}
        self.chosen = self._search(progress) if options.searches else {}
        self._check_dialect()
        self.factors = self._factors()

    def units(self) -> list[Unit]:
        """In the source's order."""
        found = []
        for output in self._outputs.values():
            layer = output.name.removesuffix(WEIGHT)
            if output.name.endswith(WEIGHT) and layer in self.formats:
                found.append(self._layer(layer, output))
            else:
                found.append(self._plain(output))
        if self._options.dialect == LIGHTX2V:
            found += smooth.norm_units(self.factors, self._shapes, torch.bfloat16)
        return found

    def metadata(self) -> dict[str, str]:
        """The source's, without what it says of its own quantization."""
        gone = (HEADER_KEY, "quantization_profile", "weight_qmax")
        return {key: text for key, text in self._checkpoint.metadata.items() if key not in gone}

    def _read_loras(self):
        """lora.LoRAs, or an empty dict."""
        if not self._options.loras:
            return {}
        if self._checkpoint.kind != DIT:
            raise ConvertError(f"{self._checkpoint.path.name} is no diffusion model: LoRAs are merged into those only.")
        from .lora import LoRAs

        loras = LoRAs(self._options.loras, self._outputs)
        self.notes += loras.notes
        return loras

    def _is_layer(self, output: Output) -> bool:
        if not output.name.endswith(WEIGHT) or len(output.shape) != 2:
            return False
        key = output.pieces[0].key
        return self._weights.format(output) is not None or self._source.info(key).dtype in FLOATS

    def _source_format(self) -> str:
        """What most layers are already."""
        held = Counter(filter(None, map(self._weights.format, self._layers.values())))
        if not held:
            raise ConvertError(
                f"{self._checkpoint.path.name} is not quantized: say which format it is to have, like --format int8."
            )
        return family(held.most_common(1)[0][0])

    def _formats(self) -> dict[str, str]:
        """Layer -> format. A layer that the source has quantized and nobody asked for stays as it is."""
        result = {}
        for layer, output in self._layers.items():
            held = self._weights.format(output)
            chosen = self.selection.formats.get(layer)
            if held is not None and (chosen is None or (self._options.format is None and not self._overridden(layer))):
                chosen = family(held)
            if chosen is not None:
                result[layer] = SMOOTHED[chosen] if self._stays_smooth(held, chosen) else chosen
        return result

    def _search(self, progress: Callable[[int, int], None]) -> dict[str, dict]:
        """Give every layer the format that the search finds for it, but for those of an override and those that the
        source has quantized."""
        options = self._options
        layers = {
            layer: Layer(
                output.shape,
                partial(self._rows, output),
                self._place(output),
                self._plain(output).specs,
                self._weights.scale_dtype(output),
            )
            for layer, output in self._layers.items()
            if layer in self.formats and not self._overridden(layer) and self._weights.format(output) is None
        }
        others = sum(stored_bytes(unit.specs) for unit in self.units() if unit.name not in layers)
        done, total = 0, sum(layer.nbytes for layer in layers.values())

        def advance(layer: str) -> None:
            nonlocal done
            done += layers[layer].nbytes
            progress(done, total)

        formats = candidates(options.candidates, options.dialect)
        measured = measure(layers, formats, options.dialect, options.calibration, advance)
        others += len(json.dumps(self.metadata()))
        if options.calibration is not None and options.dialect != COMFYUI:
            # room for the smoothing that is found later
            factors = {
                f"{name}.pre_quant_scale": Spec(torch.float32, layer.shape[1:]) for name, layer in layers.items()
            }
            others += stored_bytes(factors)
        found = search.search(measured, others, options.target_snr, options.target_size)
        self.kept = self.kept | {layer: search.KEPT for layer, choice in found.items() if choice == KEEP}
        self.formats = {layer: found.get(layer, name) for layer, name in self.formats.items()}
        self.formats = {layer: name for layer, name in self.formats.items() if name != KEEP}
        return search.described(measured, found)

    def _stays_smooth(self, held: str | None, chosen: str) -> bool:
        smooth_there = held is not None and FORMATS[held].smooth and family(held) == chosen
        return smooth_there and SMOOTHED[chosen] in writable(self._options.dialect)

    def _factors(self) -> smooth.Factors:
        """Layer -> what its columns are divided by; layers that the dialect marks as smoothed change their format."""
        only_measured = self._options.searches and self._options.dialect == COMFYUI
        if self._options.calibration is None or only_measured:
            return {}
        found = smooth.factors(
            self._options.calibration,
            self.formats,
            lambda layer: self._whole(self._layers[layer]),
            self._options.dialect,
            self._options.alpha,
        )
        self.notes.append(f"{len(found)} of {len(self.formats)} layers are better off smoothed")
        if self._options.dialect == LIGHTX2V:
            self.notes += [smooth.NEEDS_CONFIG] if found else []
        else:
            self.formats.update({layer: SMOOTHED[self.formats[layer]] for layer in found})
        return found

    def _overridden(self, layer: str) -> bool:
        return any(override.matches(layer) for override in self._options.overrides)

    def _check_dialect(self) -> None:
        known = writable(self._options.dialect)
        wrong = next((layer for layer, name in self.formats.items() if name not in known), None)
        if wrong is not None:
            raise ConvertError(
                f"{wrong} would be {self.formats[wrong]}, which the dialect {self._options.dialect} does not have: "
                f"choose one of {', '.join(known)}, or the other dialect."
            )

    def _layer(self, layer: str, output: Output) -> Unit:
        format_name = self.formats[layer]
        scale_dtype = self._weights.scale_dtype(output)
        static = self._weights.input_scale(output) if format_name == STATIC else None
        tensors = layer_specs(format_name, output.shape, self._options.dialect, scale_dtype, static is not None)
        specs = {f"{layer}.{end}": Spec.of(tensor) for end, tensor in tensors.items()}

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            held = self._quantized(layer, output)
            if static is not None:
                held.tensors["input_scale"] = static
            for end, tensor in layer_tensors(held, self._options.dialect, scale_dtype).items():
                yield f"{layer}.{end}", tensor

        return Unit(layer, specs, parts)

    def _quantized(self, layer: str, output: Output) -> HeldWeight:
        format_name, factor = self.formats[layer], self.factors.get(layer)
        stored, scale_dtype = self._weights.format(output), self._weights.scale_dtype(output)
        as_it_is = stored is not None and output.name not in self._loras and factor is None
        if as_it_is and format_name in repackings(stored):
            held = self._weights.held(output, format_name)
            if held is not None:
                return held
        if FORMATS[format_name].smooth and factor is None:
            factor = self._weights.factor(output)
        return quantize(self._rows(output), output.shape, format_name, self._place(output), scale_dtype, factor)

    def _place(self, output: Output) -> str:
        return f"{self._checkpoint.path.name}: {output.pieces[0].key}"

    def _rows(self, output: Output) -> Rows:
        if self._weights.format(output) is None and output.name not in self._loras:
            return partial(self._weights.rows, output)
        values = self._whole(output)
        return lambda start, stop: values[start:stop]

    def _whole(self, output: Output) -> torch.Tensor:
        """A weight in float32, its LoRAs merged."""
        if self._weights.format(output) is None:
            values = self._weights.rows(output, 0, output.shape[0])
        else:
            values = self._weights.dequantized(output)
        return self._loras.merged(output.name, values) if output.name in self._loras else values

    def _plain(self, output: Output) -> Unit:
        info = self._source.info(output.pieces[0].key)
        stored = getattr(torch, info.dtype)
        kept = KEPT[self._options.kept] if self._options.kept and stored.is_floating_point else stored

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            if output.name in self._loras:
                whole = torch.cat(list(self._weights.plain(output))).to(torch.float32).reshape(output.shape)
                yield output.name, self._loras.merged(output.name, whole).to(kept)
                return
            for values in self._weights.plain(output):
                yield output.name, values.to(kept)

        return Unit(output.name, {output.name: Spec(kept, output.shape)}, parts)
