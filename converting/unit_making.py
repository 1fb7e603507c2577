"""The units of a conversion: what is read, computed and written of one layer, or of a tensor that is not quantized."""

from collections.abc import Iterator

import torch

from ..checkpoints.checkpoint import StoredWeight
from ..checkpoints.layers import CODES_ONLY
from ..formats import FORMATS, family, repackings
from .casting import cast
from .dialects import layer_specs, layer_tensors
from .layer_rounding import LayerRounding
from .options import KEPT, Options
from .outputs import Output
from .rows import ROWS_ALONE, joined
from .source import Source
from .units import Spec, Unit
from .values import Values
from .weights import Weights

# the format with a static scale of the activations
STATIC = "fp8-tensor"


class UnitMaking:
    """Makes units of the outputs of one source."""

    def __init__(self, source: Source, weights: Weights, values: Values, rounding: LayerRounding, options: Options):
        self._source, self._weights, self._values = source, weights, values
        self._rounding, self._options = rounding, options

    def stays(self, output: Output, format_name: str, factor: torch.Tensor | None) -> bool:
        """Whether the layer is written with the codes of the source, as far as its parts can be cut and joined."""
        stored = self._weights.format(output)
        as_it_is = stored is not None and not self._values.merges(output) and factor is None
        return as_it_is and format_name in repackings(stored)

    def layer(self, layer: str, output: Output, format_name: str, factor: torch.Tensor | None) -> Unit:
        """factor: float32 [K] that the columns are divided by."""
        scale_dtype = self._weights.scale_dtype(output)
        static = self._weights.input_scale(output) if format_name == STATIC else None
        tensors = layer_specs(format_name, output.shape, self._options.dialect, scale_dtype, static is not None)
        specs = {f"{layer}.{end}": Spec.of(tensor) for end, tensor in tensors.items()}

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            whole = set()
            for stored in self._quantized(layer, output, format_name, factor):
                if static is not None:
                    stored.tensors["input_scale"] = static
                for end, tensor in layer_tensors(stored, self._options.dialect, scale_dtype).items():
                    name = f"{layer}.{end}"
                    if name not in whole:
                        yield name, tensor
                    if specs[name].shape == tuple(tensor.shape):
                        whole.add(name)

        return Unit(layer, specs, parts)

    def _quantized(
        self, layer: str, output: Output, format_name: str, factor: torch.Tensor | None
    ) -> Iterator[StoredWeight]:
        """The weight as a whole, or some of its rows after the other where every tensor that a file has of them stands
        alone."""
        if self.stays(output, format_name, factor):
            stored = self._weights.stored(output, format_name)
            if stored is not None:
                yield stored
                return
        if FORMATS[format_name].smooth and factor is None:
            factor = self._weights.factor(output)
        rows, place = self._values.rows(output), self._values.place(output)
        scale_dtype = self._weights.scale_dtype(output)
        parts = self._rounding.parts(layer, rows, output.shape, format_name, place, scale_dtype, factor)
        if family(format_name) in ROWS_ALONE:
            yield from parts
        else:
            yield joined(parts, output.shape, format_name)

    def plain(self, output: Output) -> Unit:
        """Of a tensor that is not quantized."""
        info = self._source.info(output.sources[0].key)
        kept = torch.bfloat16 if info.dtype in CODES_ONLY else getattr(torch, info.dtype)
        constants = self._source.checkpoint.family.constants
        if self._options.kept and kept.is_floating_point and output.name not in constants:
            kept = KEPT[self._options.kept]

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            found = [self._values.whole(output)] if self._values.merges(output) else self._weights.plain(output)
            yield from ((output.name, values) for values in cast(found, kept, self._values.place(output)))

        return Unit(output.name, {output.name: Spec(kept, output.shape)}, parts)
