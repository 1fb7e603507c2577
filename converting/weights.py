"""The float values of a tensor of the converted model, and the quantized layers that a source already has."""

import math
from collections.abc import Iterator

import torch

from ..checkpoints.checkpoint import StoredWeight
from ..checkpoints.encodings import WrongValueError
from ..checkpoints.errors import CheckpointError, Problem
from ..checkpoints.stored import StoredLayer
from ..checkpoints.weights import STORED_AS
from ..formats import FORMATS, w4a8
from ..formats.format import SCALED
from .outputs import Output, SourceRows
from .source import Source

SIXTEEN_BIT = {"bfloat16", "float16"}
# formats whose rows stand alone, so that layers can be cut and joined as they are, where they share the rest
OF_ROWS = (SCALED, (*SCALED, "zeros"), w4a8.TENSORS)
BY_ROW = {name for name, row in STORED_AS.items() if row.rows == 1 and FORMATS[name].tensors in OF_ROWS}


class Weights:
    """Outputs of one source as numbers."""

    def __init__(self, source: Source):
        self._source = source
        self._folded = source.checkpoint.folded
        self._layers = {layer.weight_key: layer.stored for layer in source.checkpoint.layers.values()}

    def format(self, output: Output) -> str | None:
        """What the weight is quantized as in the source, None if it is not."""
        layer = self._layers.get(output.sources[0].key)
        return None if layer is None else self._format(layer)

    def name(self, output: Output) -> str | None:
        """The quantized layer's name in the source, prefix and all; of several that are joined, the first's."""
        layer = self._layers.get(output.sources[0].key)
        return None if layer is None else layer.name

    def scale_dtype(self, output: Output) -> torch.dtype:
        """What the converter of LightX2V stores the scales in: the type of the source's weight, or of its scales if it
        is quantized already."""
        layers = [self._layers.get(source.key) for source in output.sources]
        keys = [
            source.key if layer is None else layer.keys.get("scale")
            for source, layer in zip(output.sources, layers, strict=True)
        ]
        found = {self._source.info(key).dtype for key in keys if key is not None}
        return getattr(torch, found.pop()) if len(found) == 1 and found <= SIXTEEN_BIT else torch.float32

    def rows(self, output: Output, start: int, stop: int) -> torch.Tensor:
        """Rows start to stop of a 2-D weight that is not quantized in the source, float32 and free to overwrite."""
        parts, first = [], 0
        for source in output.sources:
            count = self._count(source)
            begin, end = max(start - first, 0), min(stop - first, count)
            if begin < end:
                parts.append(self._rows_of(source, begin, end))
            first += count
        values = parts[0] if len(parts) == 1 else torch.cat(parts)
        return values.to(torch.float32, copy=values.dtype is torch.float32)

    def stored(self, output: Output, format_name: str) -> StoredWeight | None:
        """The quantized weight with the source's own codes and scales, in a format of the same family; None where its
        parts cannot be cut and joined as they are."""
        sources: dict[str, list[SourceRows]] = {}
        for source in output.sources:
            sources.setdefault(source.key, []).append(source)
        found = [self._cut(key, of_one, format_name) for key, of_one in sources.items()]
        if len(found) == 1:
            return found[0]
        if None in found or found[0].format not in BY_ROW or len({part.format for part in found}) > 1:
            return None
        tensors = {}
        for name, first in found[0].tensors.items():
            of_all = [part.tensors[name] for part in found]
            shared = first.ndim == 1 and name not in STORED_AS[found[0].format].row_vectors
            if shared and not all(torch.equal(first, other) for other in of_all):
                return None
            tensors[name] = first if shared else torch.cat(of_all)
        return StoredWeight(found[0].format, output.shape, tensors)

    def factor(self, output: Output) -> torch.Tensor:
        """pre_quant_scale float32 [K] of a layer that is smoothed in the source."""
        return self._whole(output.sources[0].key).tensors["pre_quant_scale"]

    def input_scale(self, output: Output) -> torch.Tensor | None:
        """float32 [1], the static scale of a layer's activations, if the source has a calibrated one."""
        layer = self._layers.get(output.sources[0].key)
        keys = {source.key for source in output.sources}
        if layer is None or "input_scale" not in layer.keys or len(keys) > 1:
            return None
        static = self._source.read(layer.keys["input_scale"]).to(torch.float32).reshape(1)
        # what writers put where nothing was calibrated
        return None if static == 1 else static

    def dequantized(self, output: Output) -> torch.Tensor:
        """float32 [N, K] of a weight that is quantized in the source."""
        parts = []
        for source in output.sources:
            values = self._whole(source.key).wrap(torch.float32).dequantize()
            parts.append(source.rows.of(values))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def plain(self, output: Output) -> Iterator[torch.Tensor]:
        """The values of any unquantized tensor in order, a part at a time, in the source's dtype."""
        for source in output.sources:
            if source.rows.is_all and not source.changes and source.key not in self._folded:
                kind = getattr(torch, self._source.info(source.key).dtype)
                yield from (part.view(kind) for part in self._source.pieces(source.key))
            else:
                yield self._rows_of(source, 0, self._count(source)).contiguous().flatten()

    def _count(self, source: SourceRows) -> int:
        shape = self._source.info(source.key).shape
        if source.changes:
            shape = tuple(source.change(torch.empty(shape, device="meta")).shape)
        start, stop = source.rows.span(shape[0])
        return stop - start

    def _rows_of(self, source: SourceRows, begin: int, end: int) -> torch.Tensor:
        """Rows of a source; one that is changed is read as a whole."""
        info = self._source.info(source.key)
        start, stop = source.rows.span(info.shape[0]) if info.shape else (0, None)
        if source.key in self._folded:
            return self._unsmoothed(source.key)[start + begin : start + end]
        if not source.changes:
            return self._source.read(source.key, start + begin, start + end)
        return source.change(self._source.read(source.key, start, stop))[begin:end]

    def _unsmoothed(self, key: str) -> torch.Tensor:
        """An unquantized weight behind a norm that LightCompress has smoothed, as it was before."""
        norm = self._folded[key]
        try:
            return norm.fold(key, {name: self._source.read(name) for name in (key, *norm.keys)})
        except WrongValueError as error:
            raise self._wrong(norm.key_of(error.role), error) from error

    def _wrong(self, key: str, error: WrongValueError) -> CheckpointError:
        file, stored = self._source.info(key).file.name, self._source.checkpoint.keys[key]
        return Problem(file, stored, error.cause, error.remedy).error()

    def _cut(self, key: str, sources: list[SourceRows], format_name: str) -> StoredWeight | None:
        """These rows of a quantized weight, None where they cannot be cut off as they are."""
        return self._whole(key).repacked(format_name).cut([source.rows for source in sources])

    def _whole(self, key: str) -> StoredWeight:
        """The whole weight whose codes are `key`."""
        layer = self._layers[key]
        tensors = self._source.checkpoint.read_layer(
            layer, {key: self._source.read(key) for key in layer.keys.values()}
        )
        name = self._format(layer)
        if name != layer.encoding.format:
            tensors = {"codes": tensors["codes"], "scale": tensors["scale"][:1], "input_scale": torch.empty(0)}
        return StoredWeight(name, layer.shape, tensors)

    def _format(self, layer: StoredLayer) -> str:
        """The loaders give each row a scale of its own where the file has one for all, a dialect must not."""
        name = layer.encoding.format
        as_stored = name == "fp8-channel" and "scale" in layer.keys and not layer.encoding.rescaled
        one = as_stored and not math.prod(self._source.info(layer.keys["scale"]).shape) > 1
        return "fp8-tensor" if one else name
