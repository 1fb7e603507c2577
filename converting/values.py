"""The float values of the tensors that are converted, with the LoRAs of the conversion merged in."""

from collections.abc import Mapping
from functools import partial

import torch

from .outputs import Output
from .rows import Rows
from .weights import Weights


class Values:
    """`loras`: lora.LoRAs, or an empty dict; `file`: the source's name, for messages."""

    def __init__(self, weights: Weights, loras: Mapping, file: str):
        self._weights, self._loras, self._file = weights, loras, file

    def place(self, output: Output) -> str:
        """Where a message says that the tensor is."""
        return f"{self._file}: {output.sources[0].key}"

    def merges(self, output: Output) -> bool:
        """Whether a LoRA changes the tensor."""
        return output.whole.name in self._loras

    def rows(self, output: Output) -> Rows:
        """A weight some rows at a time; as a whole at once where it cannot be read in rows."""
        if self._weights.format(output) is None and not self.merges(output):
            return partial(self._weights.rows, output)
        values = self.whole(output)
        return lambda start, stop: values[start:stop]

    def whole(self, output: Output) -> torch.Tensor:
        """The tensor in float32, its LoRAs merged."""
        if self.merges(output):
            return output.cut(self._loras.merged(output.whole.name, self._unmerged(output.whole)))
        return self._unmerged(output)

    def _unmerged(self, output: Output) -> torch.Tensor:
        """In float32, free to overwrite."""
        if self._weights.format(output) is not None:
            return self._weights.dequantized(output)
        if len(output.shape) == 2:
            return self._weights.rows(output, 0, output.shape[0])
        return torch.cat(list(self._weights.plain(output))).to(torch.float32, copy=True).reshape(output.shape)
