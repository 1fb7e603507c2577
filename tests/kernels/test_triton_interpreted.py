"""Our Triton kernels in Triton's interpreter, against the reference. tests/interpreted_triton.py computes every case
in a process of its own; what came out is compared here."""

import importlib
import importlib.util
import os
import subprocess
import sys

import interpreted_triton
import pytest
import torch
from comfy_kitchen.float_utils import from_blocked
from comfy_kitchen.tensor import QuantizedTensor
from interpreted_triton import (
    CASES,
    HALF,
    LARGEST,
    SINGLE,
    SMOOTHED_LINEARS,
    all_e4m3,
    factors,
    linear_inputs,
    quantizer_input,
    random,
    row_dtype,
    smoothed_inputs,
    w4a8_tensors,
)

from x2v_quant.formats import FORMATS
from x2v_quant.formats.fp8_reduced import Fp8ReducedLayout
from x2v_quant.formats.int8_convrot import rotated
from x2v_quant.formats.mx import Mxfp4Layout
from x2v_quant.formats.w4a8_codes import levels
from x2v_quant.kernels.activation import (
    FP8_REDUCED_MAX,
    quantize_fp8,
    quantize_fp8_group128,
    quantize_fp8_reduced,
    quantize_int8,
)
from x2v_quant.kernels.reference import reference

QUANTIZERS = {"int8": quantize_int8, "fp8": quantize_fp8, "fp8-reduced": quantize_fp8_reduced}


def of(kind):
    return [pytest.param(*key[1:], id="-".join(str(part) for part in key[1:])) for key in CASES if key[0] == kind]


def release(module):
    return tuple(int(part) for part in importlib.import_module(module).__version__.split(".")[:2])


@pytest.fixture(scope="session")
def interpreted(tmp_path_factory):
    """interpreted(kind, ...) -> what that case of CASES returned in the interpreter."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: no wheel for this system")
    if release("triton") < (3, 7) and release("numpy") >= (2, 4):
        pytest.skip("Triton before 3.7 cannot interpret with NumPy 2.4: it takes arrays of one element for numbers")
    path = tmp_path_factory.mktemp("triton") / "results.pt"
    environment = {**os.environ, "TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, interpreted_triton.__file__, path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]
    results = torch.load(path)

    def result(*key):
        value = results[key]
        assert not isinstance(value, str), f"in the interpreter:\n{value}"
        return value

    return result


def close(y, expected, dtype):
    """Within float32 sums in another order, and one rounding to `dtype`."""
    rounding = {SINGLE: 2e-6, HALF: 2.0**-10}[dtype]
    assert (y.float() - expected).abs().max() <= rounding * expected.abs().max()


@pytest.mark.parametrize("name,m,n,k,dtype,bias_dtype", of("linear"))
def test_linear_equals_reference(interpreted, name, m, n, k, dtype, bias_dtype):
    row, x, weight, bias = linear_inputs(name, m, n, k, dtype)
    bias = None if bias_dtype is None else bias.to(bias_dtype)
    y = interpreted("linear", name, m, n, k, dtype, bias_dtype)
    assert y.shape == (m, n)
    assert y.dtype == dtype
    expected = reference(x.float(), row.format, weight._qdata, weight._params, bias, row.activation)
    if row.name == "triton-f16":
        # each chunk of 64 products is a float16 sum
        bound = 2.0**-9 * (x.float().abs() @ weight.dequantize().float().abs().t()) + 2e-3 * expected.abs().max()
        assert ((y.float() - expected).abs() <= bound).all()
    elif FORMATS[row.format].rotation:
        # a rotated value that is nearly halfway between two codes may become either
        assert (y.float() - expected).norm() <= 1e-3 * expected.norm()
    else:
        close(y, expected, dtype)


@pytest.mark.parametrize("name,transposed", of("strided"))
def test_strided_tokens(interpreted, name, transposed):
    row, x, weight, bias = linear_inputs(name, 9, 24, 130, row_dtype(name))
    expected = reference(x.float(), row.format, weight._qdata, weight._params, bias, row.activation)
    y = interpreted("strided", name, transposed).float()
    assert (y - expected).norm() <= 1e-3 * expected.norm()


@pytest.mark.parametrize("name", SMOOTHED_LINEARS)
def test_smoothed_linear_equals_reference(interpreted, name):
    row, x, weight, bias = smoothed_inputs(name)
    expected = reference(x.float(), row.format, weight._qdata, weight._params, bias, row.activation)
    y = interpreted("smoothed", name).float()
    # the interpreter rounds to e4m3 wrongly, and a factor takes values off its grid
    assert (y - expected).norm() <= (0.05 if "fp8" in row.activation else 1e-3) * expected.norm()


@pytest.mark.parametrize("name", [pytest.param(*p.values, id=p.id) for p in of("checked")])
def test_op_is_what_torch_compile_needs(interpreted, name):
    compiled, eager = interpreted("checked", name)
    torch.testing.assert_close(compiled, eager, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("activation,m,k,dtype,smooth", of("quantize"))
def test_codes_and_scales_equal_torch(interpreted, activation, m, k, dtype, smooth):
    x = quantizer_input(m, k, activation, dtype).float()
    if smooth:
        x *= factors(k)
    expected_codes, expected_scale = QUANTIZERS[activation](x)
    codes, scale = interpreted("quantize", activation, m, k, dtype, smooth)
    assert codes.dtype == expected_codes.dtype
    assert torch.equal(scale, expected_scale)
    if activation == "int8" or not smooth:
        assert torch.equal(codes.float(), expected_codes.float())
    assert codes[0].float().abs().sum() == 0


@pytest.mark.parametrize("n,k", of("spread out"))
def test_codes_of_4_bits_are_spread_out_as_torch_does(interpreted, n, k):
    codes, scale, table = w4a8_tensors(n, k)
    expected = levels(codes.view(torch.int8), scale.view(torch.float8_e4m3fn), table)
    assert torch.equal(interpreted("spread out", n, k), expected)


@pytest.mark.parametrize("m,k,group", of("rotate alone"))
def test_rotated_tokens_are_rotated_in_float32_and_rounded_once(interpreted, m, k, group):
    expected = rotated(random(m, k).to(HALF).float(), group)
    close(interpreted("rotate alone", m, k, group), expected, HALF)


@pytest.mark.parametrize("m,k,group,dtype,smooth", of("rotate"))
def test_rotated_codes_and_scales_are_torchs(interpreted, m, k, group, dtype, smooth):
    x = quantizer_input(m, k, "int8", dtype)
    expected_codes, expected_scale = quantize_int8(x, 1, factors(k) if smooth else None, group)
    codes, scale = interpreted("rotate", m, k, group, dtype, smooth)
    assert (codes.dtype, codes.shape) == (torch.int8, (m, k))
    torch.testing.assert_close(scale, expected_scale, rtol=2e-6, atol=0)
    # the sums are in another order: what is nearly halfway between two codes may become either
    distance = (codes.int() - expected_codes.int()).abs()
    assert distance.max() <= 1
    assert distance.sum() <= 3e-4 * codes.numel()
    assert codes[0].abs().sum() == 0


@pytest.mark.parametrize("m,k", of("groups"))
def test_group_codes_and_scales_equal_torch(interpreted, m, k):
    expected_codes, expected_scale = quantize_fp8_group128(quantizer_input(m, k, "fp8-group128", SINGLE))
    codes, scale = interpreted("groups", m, k)
    assert torch.equal(scale.t(), expected_scale)
    assert torch.equal(codes.float(), expected_codes.float())


@pytest.mark.parametrize("m,k,activation,dtype", of("blocks"))
def test_codes_and_scales_of_blocks_equal_torch(interpreted, m, k, activation, dtype):
    x = quantizer_input(m, k, activation, dtype).float()
    codes, scale = interpreted("blocks", m, k, activation, dtype)
    assert scale.shape == (m, k // 32)
    if activation == "mxfp4":
        expected, params = Mxfp4Layout.quantize(x)
        assert torch.equal(scale, params.scale)
        assert torch.equal(codes, expected)
    else:
        stored = QuantizedTensor.from_float(x, "TensorCoreMXFP8Layout")
        expected = from_blocked(stored._params.scale.view(torch.uint8), m, k // 32)
        # a block of zeros has any scale
        zero = x.unflatten(1, (-1, 32)).abs().amax(2) == 0
        assert zero.any()
        assert torch.equal(scale[~zero], expected[~zero])
        assert torch.equal(codes.float(), stored._qdata[:m].float())
    assert codes[0].float().abs().sum() == 0


def test_every_e3m2_code_is_expanded_exactly(interpreted):
    sign, size = torch.arange(64) // 32, torch.arange(64) % 32
    normal = (1 + size % 4 / 4) * 2.0 ** (size // 4 - 3)
    expected = torch.where(size < 4, size / 16, normal) * (1 - 2 * sign)
    assert torch.equal(interpreted("every code of six bits"), expected.view(-1, 1).expand(64, 8))


def test_int8_rounds_half_to_even(interpreted):
    codes, scale = interpreted("ties")
    assert scale.item() == 1
    assert codes.tolist() == [[127, 0, 2, 2, 0, -2, -2, 126]]


@pytest.mark.parametrize("activation", QUANTIZERS)
def test_codes_stay_within_their_bound(interpreted, activation):
    """fp8-reduced rests on it: no code is larger, whatever the row's magnitude."""
    codes, scale = interpreted("hostile", activation)
    assert scale.isfinite().all()
    assert codes.float().abs().amax() <= LARGEST[activation]
    assert (codes[2:].float().abs().amax(1) >= LARGEST[activation] * 0.9).all()


def test_the_largest_float16_sums_are_finite_and_exact(interpreted):
    y = interpreted("worst")
    assert torch.equal(y, torch.full_like(y, 256 * Fp8ReducedLayout.MAX * FP8_REDUCED_MAX))


def test_every_e4m3_code_is_expanded_exactly(interpreted):
    assert torch.equal(interpreted("every code").float(), all_e4m3().float().t())
