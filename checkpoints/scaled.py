"""fp8 or int8 with a scale where no linear layer is: convolutions and norms, which become bfloat16 at load."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from . import silence
from .encodings import INPUT_SCALES, SCALES, WrongValueError
from .encodings.scales import FLOATS, same_but_ones, scale
from .tensor_info import MARKER_SUFFIX, UPCAST, WEIGHT, TensorInfo

CODES = ("int8", "float8_e4m3fn", "float8_e5m2")
NOTE = "quantized convolutions and norms become bfloat16 at load"


@dataclass(frozen=True)
class Scaled:
    """One weight [N, ...] whose scale is one for all, or one for each of N."""

    codes: str
    scale: str

    @property
    def keys(self) -> tuple[str, ...]:
        return self.codes, self.scale

    def key_of(self, role: str) -> str:
        """The key that a WrongValueError is about."""
        return self.scale

    def has_zeros(self, tensors: Mapping[str, torch.Tensor]) -> bool:
        return bool((tensors[self.scale] == 0).any())

    def fold(self, key: str, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """bfloat16 of the codes' shape. Raises WrongValueError for scales that are none."""
        codes, factor = tensors[key], scale(tensors[self.scale])
        if codes.is_meta:
            return torch.empty(codes.shape, dtype=UPCAST, device="meta")
        values = codes.float()
        factor = factor.reshape(-1, *[1] * (codes.dim() - 1)) if factor.numel() > 1 else factor.reshape(())
        if bool(((factor == 0) & (values != 0)).any()):
            raise WrongValueError("scale", silence.CAUSE, silence.REMEDY)
        return (values * factor).to(UPCAST)


def find_scaled(tensors: Mapping[str, TensorInfo], keys: Iterable[str]) -> tuple[dict[str, Scaled], set[str]]:
    """(key of codes -> what they become, every other key that goes with them), of those among `keys`. One with a marker
    is none: it says what else they are."""
    found, beside = {}, set()
    for key in keys:
        info, layer = tensors[key], key.removesuffix(WEIGHT)
        if layer == key or info.dtype not in CODES or len(info.shape) in (0, 2) or layer + MARKER_SUFFIX in tensors:
            continue
        scales = [f"{layer}.{end}" for end in SCALES if f"{layer}.{end}" in tensors]
        if len(scales) == 1 and _fits(tensors[scales[0]], info):
            found[key] = Scaled(key, scales[0])
            beside |= {scales[0], *(f"{layer}.{end}" for end in INPUT_SCALES if f"{layer}.{end}" in tensors)}
    return found, beside


def _fits(factor: TensorInfo, info: TensorInfo) -> bool:
    per_row = same_but_ones(factor.shape, info.shape[:1])
    return factor.dtype in FLOATS and 0 not in info.shape and (per_row or same_but_ones(factor.shape, ()))


def note(count: int) -> list[str]:
    return [f"{count} {NOTE}"] if count else []
