"""The demo's writer of quantized layers: what it stores, and what it leaves alone."""

import pytest
import torch

from x2v_quant.benchmarks.quantize import KINDS, quantized
from x2v_quant.benchmarks.quantize_int4 import codes_and_scale

F8, E8, U8, I32 = torch.float8_e4m3fn, torch.float8_e8m0fnu, torch.uint8, torch.int32
F16, F32, I64 = torch.float16, torch.float32, torch.int64
# of a bfloat16 weight [192, 256] in the kinds that others write: end of the name -> dtype, shape. What every kind
# means is asked by tests/checkpoints/test_encodings.py
STORED = {
    "int8": {"weight": (torch.int8, 192, 256), "weight_scale": (torch.bfloat16, 192, 1)},
    "fp8": {"weight": (F8, 192, 256), "weight_scale": (torch.bfloat16, 192, 1)},
    "fp8-tensor": {"weight": (F8, 192, 256), "weight_scale": (F32,), "input_scale": (F32,)},
    "block128": {"weight": (F8, 192, 256), "weight_scale": (F32, 2, 2)},
    "mxfp8": {"weight": (U8, 192, 256), "weight_scale": (E8, 256, 8)},
    "nvfp4": {"weight": (U8, 192, 128), "weight_scale": (F8, 256, 16), "weight_global_scale": (F32,)},
    "int4": {"weight": (U8, 192, 128), "weight_scale": (F32, 192, 2)},
    "int4-compressed": {"weight_packed": (I32, 192, 32), "weight_scale": (F16, 192, 2), "weight_shape": (I64, 2)},
    "int4-gptq": {"qweight": (I32, 32, 192), "scales": (F16, 2, 192), "qzeros": (I32, 2, 24), "g_idx": (I32, 256)},
    "int4-marlin": {"weight": (I32, 16, 384), "weight_scale": (F16, 2, 192), "weight_workspace": (I32, 16)},
}


def weight(n, k):
    return torch.randn((n, k), generator=torch.Generator().manual_seed(0)).bfloat16()


@pytest.mark.parametrize("kind", STORED)
def test_what_is_stored(kind):
    tensors = {
        "blocks.0.ffn.0.weight": weight(192, 256),
        "head.weight": weight(4, 4),
        "blocks.0.ffn.0.bias": weight(1, 4),
    }
    result = quantized(tensors, kind, "dit")
    layer = {
        name.removeprefix("blocks.0.ffn.0."): (tensor.dtype, *tensor.shape)
        for name, tensor in result.items()
        if name not in ("head.weight", "blocks.0.ffn.0.bias")
    }
    assert layer == STORED[kind]
    assert result["head.weight"] is tensors["head.weight"]
    assert list(result) == sorted(result)
    assert all(tensor.is_contiguous() for tensor in result.values())


@pytest.mark.parametrize(
    "kind,n,k",
    [
        ("mxfp8", 8, 48),
        ("nvfp4", 8, 24),
        ("int4", 8, 5),
        ("int4-compressed", 8, 12),
        ("int4-gptq", 12, 16),
        ("int4-gptq", 16, 12),
        ("int4-marlin", 32, 128),
        ("int4-marlin", 64, 64),
    ],
)
def test_a_shape_that_the_kind_cannot_hold_is_left(kind, n, k):
    tensors = {"blocks.0.ffn.0.weight": weight(n, k)}
    result = quantized(tensors, kind, "dit")
    assert result.keys() == tensors.keys()
    assert result["blocks.0.ffn.0.weight"] is tensors["blocks.0.ffn.0.weight"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_of_zeros_has_scales(kind):
    layer = KINDS[kind](torch.zeros(64, 128))
    scales = [tensor.float() for end, tensor in layer.items() if "scale" in end and tensor.ndim < 2]
    assert all(bool(scale.isfinite().all()) and float(scale) > 0 for scale in scales)
    assert not any(bool(tensor.float().isnan().any()) for tensor in layer.values())


def test_four_bit_codes_are_half_a_step_away():
    original = weight(16, 200).float()
    codes, scale = codes_and_scale(original)
    step = scale.float().repeat_interleave(128, dim=1)[:, :200]
    assert codes.abs().max() == 7
    assert ((codes * step - original).abs() <= step * 0.504).all()
