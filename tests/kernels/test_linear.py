"""Every kernel that runs here against the float32 reference: formats x kernels x shapes x dtypes."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from torch.library import opcheck

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, torch_fp8
from x2v_quant.kernels.reference import reference
from x2v_quant.kernels.torch_fp8 import fp8_linear
from x2v_quant.kernels.torch_int8 import GPU_ROW_MULTIPLE, int8_linear
from x2v_quant.machine import default_device, describe

DEVICE = default_device()
# (M, N, K): odd tails, one row, no row, wide and tall
SHAPES = [(1, 16, 16), (0, 32, 48), (17, 33, 70), (33, 515, 64), (2100, 2050, 1000), (600, 48, 257), (64, 64, 128)]
# one rounding to the output's dtype, relative to the largest output
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}

CASES = [
    pytest.param(kernel, name, id=f"{kernel.name}-{name}-{i}")
    for i, kernel in enumerate(KERNELS)
    for name in kernel.formats
    if kernel.requires.unmet(describe(DEVICE), None) is None
]


def layer(format_name, n, k, seed=0):
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn((n, k), generator=generator) * torch.linspace(0.1, 2, n).view(-1, 1)
    tensor = QuantizedTensor.from_float(w, FORMATS[format_name].layout_name)
    return tensor.to(DEVICE), torch.randn(n, generator=generator).to(DEVICE)


def activations(m, k, dtype):
    x = torch.randn((m, k), generator=torch.Generator().manual_seed(1))
    x[:, k // 2] *= 50  # an outlier channel
    if m > 2:
        x[2] = 0  # an all-zero token
    return x.to(dtype).to(DEVICE)


@pytest.mark.parametrize("kernel,format_name", CASES)
@pytest.mark.parametrize("m,n,k", SHAPES)
@pytest.mark.parametrize("dtype", ROUNDING, ids=str)
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
def test_kernel_equals_reference(kernel, format_name, m, n, k, dtype, with_bias):
    if kernel.requires.unmet(describe(DEVICE), (n, k)):
        pytest.skip(kernel.requires.unmet(describe(DEVICE), (n, k)))
    weight, bias = layer(format_name, n, k)
    bias = bias if with_bias else None
    x = activations(m, k, dtype)
    y = kernel.linear(x, weight._qdata, weight._params, bias)
    assert y.shape == (m, n)
    assert y.dtype == dtype
    if m == 0:
        return
    expected = reference(x.float(), format_name, weight._qdata, weight._params, bias, kernel.activation)
    # a dequantizing kernel multiplies weights rounded to the activation's dtype
    slack = 4 if kernel.activation == "float" or DEVICE.type == "cuda" else 1
    assert (y.float() - expected).abs().max() <= slack * ROUNDING[dtype] * expected.abs().max()


@pytest.mark.parametrize("kernel,format_name", CASES)
def test_kernel_takes_strided_activations_and_sliced_weights(kernel, format_name):
    weight, bias = layer(format_name, 96, 64)
    part = QuantizedTensor(
        weight._qdata[32:64],
        weight._layout_cls,
        type(weight._params)(weight._params.scale[32:64], torch.float32, (32, 64)),
    )
    x = activations(64, 40, torch.float32).t()
    assert not x.is_contiguous()
    y = kernel.linear(x, part._qdata, part._params, bias[32:64])
    whole = kernel.linear(x.contiguous(), weight._qdata, weight._params, bias)
    torch.testing.assert_close(y, whole[:, 32:64])


@pytest.mark.parametrize("format_name", FORMATS)
def test_reference_is_what_it_says(format_name):
    """The yardstick itself, against arithmetic written out in float64."""
    weight, bias = layer(format_name, 8, 12)
    x = activations(5, 12, torch.float32)
    activation = FORMATS[format_name].activation
    largest = {"int8": 127.0, "fp8": 448.0}[activation]
    scale = x.abs().amax(1, keepdim=True) / largest
    steps = torch.where(scale > 0, x / scale, torch.zeros_like(x))
    codes = steps.round() if activation == "int8" else steps.to(torch.float8_e4m3fn)
    w = weight._qdata.double() * weight._params.scale.double()
    expected = (codes.double() * scale.double()) @ w.t() + bias.double()
    y = reference(x, format_name, weight._qdata, weight._params, bias, activation)
    torch.testing.assert_close(y.double(), expected, rtol=1e-5, atol=1e-4)


def test_int8_accumulates_exactly():
    """Extreme codes over a long K: nothing saturates, the product is exact in int32."""
    x = torch.full((3, 4096), 1.0, device=DEVICE)
    codes = torch.full((16, 4096), 127, dtype=torch.int8, device=DEVICE)
    if "int8-channel" not in {name for _, name in (c.values for c in CASES if c.values[0].name == "torch")}:
        pytest.skip("torch int8 does not run on this machine")
    y = int8_linear(x, codes, torch.ones(16, 1, device=DEVICE), None)
    assert torch.equal(y, torch.full_like(y, 4096 * 127.0))


@pytest.mark.parametrize("rows_per_pass", [128, 1 << 20], ids=["passes", "one-pass"])
def test_fp8_tensorwise_applies_both_scales_afterwards(rows_per_pass, monkeypatch):
    """The tensor-wise route of the CUDA kernel, on whatever device runs it."""
    monkeypatch.setattr(torch_fp8, "TENSORWISE_VALUES", rows_per_pass * 32)
    weight, bias = layer("fp8-channel", 32, 64)
    x = activations(300, 64, torch.bfloat16)
    y = fp8_linear(x, weight._qdata, weight._params.scale, bias, False)
    expected = reference(x.float(), "fp8-channel", weight._qdata, weight._params, bias, "fp8")
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).norm() < 0.005 * expected.norm()


@pytest.mark.parametrize(
    "op,format_name,extra",
    [
        ("int8_linear", "int8-channel", ()),
        ("fp8_linear", "fp8-channel", (False,)),
    ],
)
def test_ops_are_well_behaved(op, format_name, extra):
    weight, bias = layer(format_name, 32, 64)
    x = activations(GPU_ROW_MULTIPLE + 1, 64, torch.float32)
    check(op, (x, weight._qdata, weight._params.scale, bias, *extra), weight)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("op", ["reference_linear", "dequant_linear"])
def test_ops_of_every_format_are_well_behaved(op, format_name):
    weight, bias = layer(format_name, 128, 256)
    row = FORMATS[format_name]
    extra = (row.activation,) if op == "reference_linear" else ()
    parts = row.parts(weight._qdata, weight._params)
    check(op, (activations(33, 256, torch.float32), parts, format_name, [128, 256], bias, *extra), weight)


def check(op, args, weight):
    # opcheck compares inputs before and after, for which torch has no float8 arithmetic
    checks = ("test_faketensor",) if weight._qdata.dtype == torch.float8_e4m3fn else ("test_schema", "test_faketensor")
    opcheck(getattr(torch.ops.x2v_quant, op).default, args, test_utils=checks)


@pytest.mark.gpu
@pytest.mark.parametrize("format_name", FORMATS)
def test_torch_kernel_is_the_choice_on_a_gpu(format_name):
    from x2v_quant.kernels import choose

    machine = describe(DEVICE)
    if format_name == "fp8-channel" and machine.capability < (8, 9):
        pytest.skip(f"{machine} has no fp8")
    assert choose(format_name, machine, (1536, 1536)).kernel.name == "torch"
