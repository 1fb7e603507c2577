"""Per-token quantization against the formulas."""

import pytest
import torch

from x2v_quant.kernels.activation import CPU_VALUES, quantize_fp8, quantize_int8

CASES = {"int8": (quantize_int8, 127.0, torch.int8), "fp8": (quantize_fp8, 448.0, torch.float8_e4m3fn)}


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rows,width", [(1, 37), (7, 37), (3, CPU_VALUES // 2 + 1)], ids=["row", "rows", "passes"])
def test_codes_and_scales(kind, dtype, rows, width):
    quantize, largest, code_dtype = CASES[kind]
    x = (torch.randn(rows, width, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    codes, scale = quantize(x)
    assert codes.dtype == code_dtype
    assert scale.dtype == torch.float32
    exact = x.float().abs().amax(1, keepdim=True) / largest
    torch.testing.assert_close(scale, exact)
    assert codes.float().abs().amax(1).eq(largest).all()
    step = 1.0 if kind == "int8" else 32.0
    assert ((codes.float() - x.float() / exact).abs() <= step / 2 * 1.001).all()


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("value", [0.0, 1e-38, 3e38])
def test_extreme_tokens_stay_finite(kind, value):
    codes, scale = CASES[kind][0](torch.full((2, 8), value))
    back = codes.float() * scale
    assert back.isfinite().all()
    torch.testing.assert_close(back, torch.full((2, 8), value), rtol=1e-2, atol=1e-27)


def test_int8_rounds_half_to_even():
    x = torch.tensor([[127.0, 0.5, 1.5, 2.5, -0.5, -1.5]])
    assert quantize_int8(x)[0].tolist() == [[127, 0, 2, 2, 0, -2]]


def test_padding_rows_are_zero():
    codes, scale = quantize_int8(torch.randn(5, 8), pad_rows=32)
    assert codes.shape == (32, 8)
    assert codes[5:].abs().sum() == 0
    assert scale[5:].sum() == 0
