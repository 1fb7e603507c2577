"""Quantization of activations against the formulas, each written out here once more in float64."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.formats.int8_convrot import GROUPS, name_of
from x2v_quant.kernels import activation
from x2v_quant.kernels.activation import (
    CPU_VALUES,
    SIMULATED,
    quantize_fp8,
    quantize_fp8_group128,
    quantize_fp8_reduced,
    quantize_fp8_static,
    quantize_int8,
)

CASES = {
    "int8": (quantize_int8, 127.0, torch.int8),
    "fp8": (quantize_fp8, 448.0, torch.float8_e4m3fn),
    "fp8-reduced": (quantize_fp8_reduced, 32.0, torch.float8_e4m3fn),
}
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)


def tokens(rows, width, dtype=torch.float32):
    return (torch.randn(rows, width, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)


@pytest.mark.parametrize("kind", CASES)
@DTYPES
@pytest.mark.parametrize("rows,width", [(1, 37), (7, 37), (3, CPU_VALUES // 2 + 1)], ids=["row", "rows", "passes"])
def test_codes_and_scales(kind, dtype, rows, width):
    quantize, largest, code_dtype = CASES[kind]
    x = tokens(rows, width, dtype)
    codes, scale = quantize(x)
    assert codes.dtype == code_dtype
    assert (scale.dtype, scale.shape) == (torch.float32, (rows, 1))
    exact = x.float().abs().amax(1, keepdim=True) / largest
    torch.testing.assert_close(scale, exact)
    assert codes.float().abs().amax(1).eq(largest).all()
    step = 1.0 if kind == "int8" else largest / 14
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


@pytest.mark.parametrize("quantize", [quantize_int8, quantize_fp8_group128])
def test_padding_rows_are_zero(quantize):
    codes, scale = quantize(torch.randn(5, 8), pad_rows=32)
    assert codes.shape == (32, 8)
    assert scale.shape == (32, 1)
    assert codes[5:].float().abs().sum() == 0
    assert scale[5:].sum() == 0


@DTYPES
@pytest.mark.parametrize("width", [128, 300, 50])
def test_a_group_of_128_is_quantized_as_a_token_of_its_own(dtype, width, monkeypatch):
    monkeypatch.setattr(activation, "CPU_VALUES", 4 * width)  # two passes
    x = tokens(6, width, dtype)
    x[1, :50] = 0
    codes, scale = quantize_fp8_group128(x)
    assert (codes.shape, scale.shape) == ((6, width), (6, -(-width // 128)))
    for group, start in enumerate(range(0, width, 128)):
        part_codes, part_scale = quantize_fp8(x[:, start : start + 128])
        assert torch.equal(codes[:, start : start + 128].view(torch.uint8), part_codes.view(torch.uint8))
        assert torch.equal(scale[:, group : group + 1], part_scale)


@DTYPES
def test_a_static_scale_is_divided_by_and_clamped(dtype):
    x = tokens(9, 40, dtype)
    x[0, 0], x[1, 1] = 1000, -1000
    codes, scale = quantize_fp8_static(x, torch.tensor([0.5]))
    assert scale.tolist() == [0.5]
    assert torch.equal(codes.float(), (x.float() / 0.5).clamp(-448, 448).to(torch.float8_e4m3fn).float())
    assert codes[0, 0].item() == 448
    assert codes[1, 1].item() == -448


@DTYPES
def test_without_a_static_scale_the_whole_x_gives_it(dtype):
    x = tokens(9, 40, dtype)
    codes, scale = quantize_fp8_static(x, torch.empty(0))
    torch.testing.assert_close(scale, x.float().abs().max().view(1) / 448)
    assert codes.float().abs().max() == 448
    assert not quantize_fp8_static(x * 0, torch.empty(0))[0].float().any()


def as_formula(kind, x):
    """What a token becomes, block by block in float64."""
    width = {"mxfp8": 32, "nvfp4": 16}[kind]
    fp4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=torch.float64)
    fp4 = torch.cat((-fp4.flip(0), fp4))
    whole = x.abs().max().float() / (448 * 6)
    result = torch.zeros_like(x, dtype=torch.float64)
    for start in range(0, x.shape[1], width):
        block = x[:, start : start + width]
        amax = block.abs().amax(1, keepdim=True)
        if kind == "mxfp8":  # the smallest power of two that brings the block within 448
            scale = torch.exp2(torch.ceil(torch.log2(amax.double() / 448)))
            values = (block.double() / scale).float().to(torch.float8_e4m3fn).double()
        else:  # a block scale in e4m3, itself in units of one scale for all
            scale = (amax / 6 / whole).to(torch.float8_e4m3fn).double() * whole.double()
            steps = (block.double() / scale).clamp(-6, 6)
            values = fp4[(steps.unsqueeze(2) - fp4).abs().argmin(2)]
        result[:, start : start + width] = values * scale
    return result


@pytest.mark.parametrize("kind", ["mxfp8", "nvfp4"])
@pytest.mark.parametrize("rows,width", [(33, 96), (5, 50)])
def test_block_formats_are_cores(kind, rows, width):
    x = tokens(rows, width)
    torch.testing.assert_close(SIMULATED[kind](x, {}).double(), as_formula(kind, x), rtol=1e-6, atol=0)


def width_of(kind):
    """K that the activation can have."""
    if kind == "mxfp4":
        return 96
    of_formats = {row.activation: row.rotation for row in FORMATS.values()}
    # of which an older ComfyUI has no formats
    of_int8 = {name_of(group): group for group in GROUPS}
    return of_formats.get(kind) or of_int8.get(kind.removesuffix("-smooth")) or 70


@pytest.mark.parametrize("kind", SIMULATED)
@pytest.mark.parametrize("input_scale", [[], [0.03]], ids=["dynamic", "static"])
def test_every_simulation_keeps_shape_zeros_and_most_of_the_value(kind, input_scale):
    width = width_of(kind)
    x = tokens(33, width)
    x[2] = 0
    tensors = {"input_scale": torch.tensor(input_scale), "pre_quant_scale": torch.rand(width) + 0.5}
    y = SIMULATED[kind](x, tensors)
    assert (y.shape, y.dtype) == (x.shape, torch.float32)
    assert not y[2].any()
    bits = {"nvfp4": 0.12, "mxfp4": 0.12, "int4": 0.2}
    assert (y - x).norm() < bits.get(kind.partition("-")[0], 0.04) * x.norm()
    assert not SIMULATED[kind](torch.zeros(3, width), tensors).any()
    assert SIMULATED[kind](x[:0], tensors).shape == (0, width)


def test_every_format_has_its_simulation():
    assert {row.activation for row in FORMATS.values()} <= set(SIMULATED)


@pytest.mark.parametrize("quantize", [quantize_int8, quantize_fp8, quantize_fp8_reduced, quantize_fp8_group128])
def test_strided_tokens_are_read_as_they_are(quantize):
    x = tokens(40, 64).t()
    for one, other in zip(quantize(x), quantize(x.contiguous()), strict=True):
        assert torch.equal(one.float(), other.float())


@pytest.mark.parametrize("quantize", [quantize_int8, quantize_fp8])
@DTYPES
def test_a_pre_quant_scale_multiplies_in_float32_before_anything_else(quantize, dtype, monkeypatch):
    monkeypatch.setattr(activation, "CPU_VALUES", 3 * 70)  # several passes
    x = tokens(8, 70, dtype)
    factor = torch.rand(70, generator=torch.Generator().manual_seed(2)) + 0.01
    codes, scale = quantize(x, pad_rows=5, pre_quant_scale=factor)
    expected_codes, expected_scale = quantize(x.float() * factor, pad_rows=5)
    assert torch.equal(codes.float(), expected_codes.float())
    assert torch.equal(scale, expected_scale)


@pytest.mark.parametrize("kind", [kind for kind in SIMULATED if kind.endswith("-smooth")])
def test_a_smoothed_simulation_is_what_the_weight_itself_is_multiplied_with(kind):
    x = tokens(9, width_of(kind))
    factor = torch.rand(x.shape[1], generator=torch.Generator().manual_seed(2)) + 0.01
    seen = SIMULATED[kind.removesuffix("-smooth")](x * factor, {})
    torch.testing.assert_close(SIMULATED[kind](x, {"pre_quant_scale": factor}) * factor, seen)
