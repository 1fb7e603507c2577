"""What a checkpoint holds of one layer, in its headers and once it is read."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..common.row_slice import ALL, RowSlice, shape_of
from ..formats import FORMATS, format_of
from ..formats.convert import convert
from .encodings import ENCODINGS
from .stored import StoredLayer

# format -> how its tensors are laid out in rows, which all of its encodings have alike once they are read
STORED_AS = {encoding.format: encoding for encoding in ENCODINGS}


@dataclass(frozen=True)
class QuantizedLayer:
    """One linear layer of ComfyUI's model. `shape`: (N, K) of this layer, which has the rows `rows` of `stored`: the
    file may keep several layers as one (to_qkv)."""

    name: str
    stored: StoredLayer
    shape: tuple[int, int]
    rows: RowSlice = ALL

    @property
    def format(self) -> str:
        return self.stored.encoding.format

    @property
    def weight_key(self) -> str:
        return self.stored.weight_key


@dataclass(frozen=True)
class StoredWeight:
    """A quantized weight of `shape` (N, K) in a stored format. `format`: a name in formats.FORMATS; `tensors`: what
    that row's `tensors` lists, "codes" among them, in the dtypes and shapes of its layout."""

    format: str
    shape: tuple[int, int]
    tensors: dict[str, torch.Tensor]

    def rows(self, slices: Sequence[RowSlice]) -> "StoredWeight":
        """The rows of these slices, one below the other, with the codes and scales that they have. No border may lie
        between rows that the format stores together."""
        if list(slices) == [ALL]:
            return self
        of_rows = STORED_AS[self.format].row_vectors
        tensors = {
            name: self._rows(tensor.unsqueeze(1), slices).squeeze(1) if name in of_rows else self._rows(tensor, slices)
            for name, tensor in self.tensors.items()
        }
        return StoredWeight(self.format, shape_of(self.shape, slices), tensors)

    def cut(self, slices: Sequence[RowSlice]) -> "StoredWeight | None":
        """As `rows`; None where a border lies between rows that the format stores together."""
        together = STORED_AS[self.format].rows
        borders = [border for rows in slices if not rows.is_all for border in rows.span(self.shape[0])]
        return None if any(border % together for border in borders) else self.rows(slices)

    def _rows(self, tensor: torch.Tensor, slices: Sequence[RowSlice]) -> torch.Tensor:
        """Of a tensor; one with a single value per weight or per column has no rows."""
        axis, count = STORED_AS[self.format].row_axis, self.shape[0]
        if tensor.ndim < 2 or tensor.shape[axis] == 1:
            return tensor
        size = tensor.shape[axis]
        borders = [(start * size // count, stop * size // count) for start, stop in (one.span(count) for one in slices)]
        found = [tensor.narrow(axis, start, stop - start) for start, stop in borders]
        return found[0].contiguous() if len(found) == 1 else torch.cat(found, axis)

    @classmethod
    def of(cls, weight: QuantizedTensor) -> "StoredWeight":
        """weight: in a layout of FORMATS."""
        row = format_of(weight)
        tensors = dict(zip(row.tensors, row.parts(weight._qdata, weight._params), strict=True))
        return cls(row.name, tuple(weight.shape), tensors)

    def wrap(self, dtype: torch.dtype) -> QuantizedTensor:
        """The weight as ComfyUI computes with it, reporting `dtype`."""
        return FORMATS[self.format].wrap(self.tensors, dtype, self.shape)

    def repacked(self, format_name: str) -> "StoredWeight":
        """In another format, with the same numbers where both formats can hold them; itself if it has that one."""
        return self if format_name == self.format else self.of(convert(self.wrap(torch.float32), format_name))


@dataclass
class Weights:
    """Under ComfyUI's names. `plain`: unquantized, in the file's dtypes. `quantized`: by layer. `spiece_model`: the
    tokenizer's bytes (uint8), if the file carries them. `notes`: what whoever loads them has to be told."""

    plain: dict[str, torch.Tensor] = field(default_factory=dict)
    quantized: dict[str, StoredWeight] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    spiece_model: torch.Tensor | None = None
    notes: list[str] = field(default_factory=list)
