"""Quantized lookup tables, which no kernel for linear layers computes: they become bfloat16 at load."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from ..formats import FORMATS
from . import silence
from .stored import StoredLayer
from .tensor_info import UPCAST

NAMES = re.compile(r"(.*\.)?(shared|embed_tokens|\w*_embedding|relative_attention_bias)")
# formats whose codes have the shape of the weight
READ = ("int8-channel", "fp8-channel", "fp8-tensor", "fp8-block128")
NOTE = "quantized embeddings become bfloat16 at load"


@dataclass(frozen=True)
class Embedding:
    """One of a format in READ."""

    stored: StoredLayer

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.stored.keys.values())

    def fold(self, key: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """bfloat16 [N, K] of the codes called `key`. Raises WrongValueError for scales that are none."""
        stored = {role: tensors[name] for role, name in self.stored.keys.items()}
        parts = self.stored.encoding.unpack(stored, self.stored.shape)
        if tensors[key].is_meta:
            return torch.empty(self.stored.shape, dtype=UPCAST, device="meta")
        silence.check(self.stored.encoding.format, parts, self.stored.shape)
        return FORMATS[self.stored.encoding.format].wrap(parts, UPCAST, self.stored.shape).dequantize()

    def has_zeros(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        return bool((tensors[self.stored.keys["scale"]] == 0).any())

    def key_of(self, role: str) -> str:
        """The key that a WrongValueError is about."""
        return self.stored.keys[role]


def is_read(stored: StoredLayer) -> bool:
    return stored.encoding.format in READ


def note(count: int) -> list[str]:
    return [f"{count} {NOTE}"] if count else []
