"""`tl.dot_scaled` for Triton's interpreter, which lacks it: in float32, of e2m1 and e4m3 codes with scales e8m0."""

import numpy as np
import torch

E2M1 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0], dtype=np.float32)
BLOCK = 32


def add():
    """Teach the interpreter."""
    import triton.language

    triton.language.dot_scaled = _dot_scaled


def _dot_scaled(lhs, lhs_scale, lhs_format, rhs, rhs_scale, rhs_format, acc):
    left = _values(lhs.handle.data, lhs_format) * _scales(lhs_scale.handle.data)
    right = _values(rhs.handle.data.T, rhs_format) * _scales(rhs_scale.handle.data)
    handle = type(acc.handle)(left @ right.T + acc.handle.data, acc.handle.dtype.scalar)
    return type(acc)(handle, acc.type)


def _values(codes, kind):
    """Codes whose last axis is K, or K / 2 of two nibbles -> float32 [rows, K]."""
    codes = np.ascontiguousarray(codes).view(np.uint8)
    if kind == "e2m1":
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(len(codes), -1)
        return E2M1[codes & 7] * np.where(codes & 8, -1, 1).astype(np.float32)
    assert kind == "e4m3"
    return torch.from_numpy(codes).view(torch.float8_e4m3fn).float().numpy()


def _scales(scale):
    """uint8 [rows, K / 32] -> float32 [rows, K]."""
    return np.repeat(np.exp2(scale.astype(np.float32) - 127), BLOCK, axis=1)
