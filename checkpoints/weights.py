"""What a checkpoint holds of one layer, in its headers and once it is read."""

from dataclasses import dataclass, field

import torch
from comfy_kitchen.tensor import QuantizedTensor

from ..formats import FORMATS, format_of
from ..formats.convert import convert
from .stored import StoredLayer


@dataclass(frozen=True)
class QuantizedLayer:
    """One linear layer of ComfyUI's model. `shape`: (N, K) of this layer; it is part `part` of `parts` equal shares of
    the rows of `stored`, which the file keeps in one piece (to_qkv)."""

    name: str
    stored: StoredLayer
    shape: tuple[int, int]
    part: int = 0
    parts: int = 1

    @property
    def format(self) -> str:
        return self.stored.encoding.format

    @property
    def weight_key(self) -> str:
        return self.stored.weight_key

    def share(self, whole: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Out of the tensors of the stored layer those of this one."""
        if self.parts == 1:
            return whole
        return {name: self._rows(tensor) for name, tensor in whole.items()}

    def _rows(self, tensor: torch.Tensor) -> torch.Tensor:
        """The share of a tensor; one with a single value per weight or per column has no rows."""
        axis = self.stored.encoding.row_axis
        if tensor.ndim < 2 or tensor.shape[axis] == 1:
            return tensor
        size = tensor.shape[axis] // self.parts
        return tensor.narrow(axis, self.part * size, size).contiguous()


@dataclass(frozen=True)
class StoredWeight:
    """A quantized weight of `shape` (N, K) in a stored format. `format`: a name in formats.FORMATS; `tensors`: what
    that row's `tensors` lists, "codes" among them, in the dtypes and shapes of its layout."""

    format: str
    shape: tuple[int, int]
    tensors: dict[str, torch.Tensor]

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
