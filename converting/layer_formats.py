"""Which layers of a source are quantized, and in which format each was asked for."""

from collections import Counter
from collections.abc import Mapping

from ..checkpoints.layers import CODES_ONLY
from ..formats import FORMATS, SMOOTHED, family, original
from ..kernels.machine import default_device, describe
from ..kernels.native import native_format
from ..layer_rules import select
from ..layer_rules.format_names import format_named
from ..rounding import AUTO
from .dialects import needed, writable
from .errors import ConvertError
from .options import Options
from .outputs import Output
from .rotation import wanted_format, with_groups
from .source import Source
from .weights import Weights

WEIGHT = ".weight"
FLOATS = ("float32", "bfloat16", "float16", "float64", *CODES_ONLY)
# stands for what a search will find: every shape can be it
ANY_SHAPE = "int8-channel"


class LayerFormats:
    """`layers`: layer -> its weight; `shapes`: layer -> (N, K); `selection`: what the rules said; `formats`: layer ->
    format, of those that come out quantized, where a search comes first ANY_SHAPE. Raises ConvertError or RuleError."""

    def __init__(self, source: Source, weights: Weights, outputs: Mapping[str, Output], options: Options):
        self._source, self._weights, self._options = source, weights, options
        found = [output for output in outputs.values() if self._is_layer(output)]
        self.layers = {output.name.removesuffix(WEIGHT): output for output in found}
        self.shapes = {name: output.shape for name, output in self.layers.items()}
        wanted = ANY_SHAPE if options.searches else self._wanted()
        rules = (*needed(options.dialect, self.shapes, outputs, wanted), *options.overrides)
        self.selection = select(self.shapes, outputs, wanted, rules)
        self.formats = with_groups(self._formats(), self.shapes, options.rotation)
        if not self.formats:
            raise ConvertError(
                f"{source.checkpoint.path.name} has no layer to quantize: all of its {len(found)} linear layers are "
                'kept. Say which ones with lines like "blocks.*.ffn.* = int8-channel".'
            )

    def overridden(self, layer: str) -> bool:
        """Whether the user gave it a rule of its own."""
        return any(override.matches(layer) for override in self._options.overrides)

    def _is_layer(self, output: Output) -> bool:
        if not output.name.endswith(WEIGHT) or len(output.shape) != 2:
            return False
        key = output.sources[0].key
        return self._weights.format(output) is not None or self._source.info(key).dtype in FLOATS

    def _wanted(self) -> str:
        """The format of layers without a rule of their own."""
        return wanted_format(format_named(self._options.format or self._usual_format()), self._options.rotation)

    def _usual_format(self) -> str:
        """What most layers are already; of an unquantized source what this machine computes in and the dialect has."""
        stored = Counter(filter(None, map(self._weights.format, self.layers.values())))
        if not stored:
            return native_format(describe(default_device()), writable(self._options.dialect))
        return family(stored.most_common(1)[0][0])

    def _formats(self) -> dict[str, str]:
        """Layer -> format. A layer that the source has quantized and nobody asked for stays as it is."""
        result = {}
        for layer, output in self.layers.items():
            stored = self._weights.format(output)
            chosen = self.selection.formats.get(layer)
            asked = self._options.format is not None or self._options.rotation != AUTO or self.overridden(layer)
            unasked = chosen is None or not asked
            if stored is not None and (unasked or family(stored) == family(chosen)):
                chosen = original(stored)
            if chosen is not None:
                result[layer] = SMOOTHED[chosen] if self._stays_smooth(stored, chosen) else chosen
        return result

    def _stays_smooth(self, stored: str | None, chosen: str) -> bool:
        smooth_there = stored is not None and FORMATS[stored].smooth and original(stored) == chosen
        return smooth_there and SMOOTHED[chosen] in writable(self._options.dialect)
