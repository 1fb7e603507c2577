"""The torchao adapter with the torchao that is installed."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, quantizers, torchao, why_not
from x2v_quant.kernels.machine import describe
from x2v_quant.kernels.ops import COMPUTATIONS
from x2v_quant.kernels.reference import reference

pytest.importorskip("torchao")
CPU = torch.device("cpu")


def rows(format_name):
    return next(k for k in KERNELS if k.name == "torchao" and format_name == k.format)


def case(format_name, m, n, k, dtype):
    generator = torch.Generator().manual_seed(0)
    stored = FORMATS[format_name].quantize(torch.randn((n, k), generator=generator), dtype)
    x = torch.randn((m, k), generator=generator).to(dtype)
    return stored, x, torch.randn(n, generator=generator).to(dtype)


def close(y, x, stored, bias):
    expected = reference(x.float(), "int8-channel", stored._qdata, stored._params, bias, "int8")
    step = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}[y.dtype]
    return (y.float() - expected).abs().max() <= 2 * step * expected.abs().max()


def test_it_passes_its_probe_on_this_machine():
    assert why_not("torchao", "int8-channel", describe(CPU), (64, 128), torch.bfloat16) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("m,n,k", [(1, 16, 8), (17, 24, 40), (100, 64, 128)])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
def test_int8_equals_the_reference(m, n, k, dtype, with_bias):
    stored, x, bias = case("int8-channel", m, n, k, dtype)
    bias = bias if with_bias else None
    y = rows("int8-channel").linear(x, stored._qdata, stored._params, bias)
    assert (y.shape, y.dtype) == ((m, n), dtype)
    assert close(y, x, stored, bias)


@pytest.mark.parametrize("values", [64 * 7, 64 * 50, 64 * 100])
def test_passes_change_nothing(monkeypatch, values):
    stored, x, bias = case("int8-channel", 100, 64, 32, torch.bfloat16)
    whole = rows("int8-channel").linear(x, stored._qdata, stored._params, bias)
    monkeypatch.setattr(torchao, "VALUES", values)
    assert torch.equal(rows("int8-channel").linear(x, stored._qdata, stored._params, bias), whole)


@pytest.mark.parametrize("m", [1, 17, 300])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
def test_fp8_is_what_torch_takes_on_a_gpu(monkeypatch, m, with_bias):
    """Torch's own rules for shapes, strides and dtypes, with tensors that hold no data."""
    monkeypatch.setattr(quantizers, "with_triton", lambda device: False)
    with FakeTensorMode():
        x = torch.empty((m, 64), dtype=torch.bfloat16, device="cuda")
        codes = torch.empty((48, 64), dtype=torch.float8_e4m3fn, device="cuda")
        scale = torch.empty((48, 1), dtype=torch.float32, device="cuda")
        bias = torch.empty(48, dtype=torch.float32, device="cuda") if with_bias else None
        y = COMPUTATIONS["torchao fp8-channel"].linear(x, [codes, scale], (48, 64), bias)
        assert (y.shape, y.dtype, y.device.type) == ((m, 48), torch.bfloat16, "cuda")
