"""The float values of a tensor of the converted model, and the quantized layers that a source already has."""

import math
from collections.abc import Iterator

import torch

from ..checkpoints.checkpoint import StoredWeight
from ..checkpoints.cutting import cut
from ..checkpoints.encodings import WrongValueError
from ..checkpoints.errors import CheckpointError, Problem
from ..checkpoints.stored import StoredLayer
from ..formats import ROTATED
from .outputs import Output, Piece
from .source import Source

SIXTEEN_BIT = {"bfloat16", "float16"}
# formats whose rows stand alone in every tensor, so that layers can be cut and joined as they are
BY_ROW = ("int8-channel", *ROTATED.values(), "fp8-channel", "int4-g128")


class Weights:
    """Outputs of one source as numbers."""

    def __init__(self, source: Source):
        self._source = source
        self._folded = source.checkpoint.folded
        self._layers = {layer.weight_key: layer.stored for layer in source.checkpoint.layers.values()}

    def format(self, output: Output) -> str | None:
        """What the weight is quantized as in the source, None if it is not."""
        layer = self._layers.get(output.pieces[0].key)
        return None if layer is None else self._format(layer)

    def scale_dtype(self, output: Output) -> torch.dtype:
        """What the converter of LightX2V stores the scales in: the type of the source's weight, or of its scales if it
        is quantized already."""
        layers = [self._layers.get(piece.key) for piece in output.pieces]
        keys = [
            piece.key if layer is None else layer.keys.get("scale")
            for piece, layer in zip(output.pieces, layers, strict=True)
        ]
        found = {self._source.info(key).dtype for key in keys if key is not None}
        return getattr(torch, found.pop()) if len(found) == 1 and found <= SIXTEEN_BIT else torch.float32

    def rows(self, output: Output, start: int, stop: int) -> torch.Tensor:
        """Rows start to stop of a 2-D weight that is not quantized in the source, float32 and free to overwrite."""
        parts, first = [], 0
        for piece in output.pieces:
            count = self._count(piece)
            begin, end = max(start - first, 0), min(stop - first, count)
            if begin < end:
                parts.append(self._piece(piece, begin, end))
            first += count
        values = parts[0] if len(parts) == 1 else torch.cat(parts)
        return values.to(torch.float32, copy=values.dtype is torch.float32)

    def stored(self, output: Output, format_name: str) -> StoredWeight | None:
        """The quantized weight with the source's own codes and scales, in a format of the same family; None where its
        parts cannot be cut and joined as they are."""
        pieces: dict[str, list[Piece]] = {}
        for piece in output.pieces:
            pieces.setdefault(piece.key, []).append(piece)
        found = [self._cut(key, of_one, format_name) for key, of_one in pieces.items()]
        if len(found) == 1:
            return found[0]
        if None in found or found[0].format not in BY_ROW or len({part.format for part in found}) > 1:
            return None
        tensors = {name: torch.cat([part.tensors[name] for part in found]) for name in found[0].tensors}
        return StoredWeight(found[0].format, output.shape, tensors)

    def factor(self, output: Output) -> torch.Tensor:
        """pre_quant_scale float32 [K] of a layer that is smoothed in the source."""
        return self._whole(output.pieces[0].key).tensors["pre_quant_scale"]

    def input_scale(self, output: Output) -> torch.Tensor | None:
        """float32 [1], the static scale of a layer's activations, if the source has a calibrated one."""
        layer = self._layers.get(output.pieces[0].key)
        keys = {piece.key for piece in output.pieces}
        if layer is None or "input_scale" not in layer.keys or len(keys) > 1:
            return None
        static = self._source.read(layer.keys["input_scale"]).to(torch.float32).reshape(1)
        # what writers put where nothing was calibrated
        return None if static == 1 else static

    def dequantized(self, output: Output) -> torch.Tensor:
        """float32 [N, K] of a weight that is quantized in the source."""
        parts = []
        for piece in output.pieces:
            values = self._whole(piece.key).wrap(torch.float32).dequantize()
            parts.append(values[slice(*piece.rows(len(values)))])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def plain(self, output: Output) -> Iterator[torch.Tensor]:
        """The values of any unquantized tensor in order, a part at a time, in the source's dtype."""
        for piece in output.pieces:
            if piece.parts == 1 and not piece.changes and piece.key not in self._folded:
                kind = getattr(torch, self._source.info(piece.key).dtype)
                yield from (part.view(kind) for part in self._source.pieces(piece.key))
            else:
                yield self._piece(piece, 0, self._count(piece)).contiguous().flatten()

    def _count(self, piece: Piece) -> int:
        shape = self._source.info(piece.key).shape
        if piece.changes:
            shape = tuple(piece.change(torch.empty(shape, device="meta")).shape)
        start, stop = piece.rows(shape[0])
        return stop - start

    def _piece(self, piece: Piece, begin: int, end: int) -> torch.Tensor:
        """Rows of a piece; one that is changed is read as a whole."""
        info = self._source.info(piece.key)
        start, stop = piece.rows(info.shape[0]) if info.shape else (0, None)
        if piece.key in self._folded:
            return self._unsmoothed(piece.key)[start + begin : start + end]
        if not piece.changes:
            return self._source.read(piece.key, start + begin, start + end)
        return piece.change(self._source.read(piece.key, start, stop))[begin:end]

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

    def _cut(self, key: str, pieces: list[Piece], format_name: str) -> StoredWeight | None:
        """These rows of a quantized weight, None where they cannot be cut off as they are."""
        whole = self._whole(key).repacked(format_name)
        spans = [piece.rows(whole.shape[0]) for piece in pieces]
        return whole if spans == [(0, whole.shape[0])] else cut(whole, spans)

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
