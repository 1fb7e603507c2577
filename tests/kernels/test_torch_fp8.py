"""torch's fp8 routes: the arithmetic where a CPU has it, and torch's own rules for a GPU on tensors without data."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from torch._subclasses.fake_tensor import FakeTensorMode

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import quantizers, torch_fp8
from x2v_quant.kernels.ops import COMPUTATIONS
from x2v_quant.kernels.reference import reference

DTYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
# what the ops run: no GPU is there that would choose the kernels
TENSOR, BLOCKS = COMPUTATIONS["torch fp8-tensor"], COMPUTATIONS["torch fp8-block128"]
BIAS = pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def tokens(m, k, dtype):
    x = values(m, k, seed=1)
    x[:, k // 2] *= 50
    x[2] = 0
    return x.to(dtype)


def close(y, expected, dtype, roundings=1):
    rounding = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8, torch.float16: 2.0**-10}[dtype]
    return (y.float() - expected).abs().max() <= roundings * rounding * expected.abs().max()


@pytest.mark.parametrize("rows_per_pass", [128, 1 << 20], ids=["passes", "one-pass"])
def test_tensorwise_applies_both_scales_afterwards(rows_per_pass, monkeypatch):
    monkeypatch.setattr(torch_fp8, "TENSORWISE_VALUES", rows_per_pass * 32)
    weight, bias = FORMATS["fp8-channel"].quantize(values(32, 64), torch.bfloat16), values(32)
    x = tokens(300, 64, torch.bfloat16)
    tensorwise = COMPUTATIONS["torch-tensorwise fp8-channel"]
    y = tensorwise.linear(x, [weight._qdata, weight._params.scale], (32, 64), bias)
    expected = reference(x.float(), "fp8-channel", weight._qdata, weight._params, bias, "fp8")
    assert y.dtype == torch.bfloat16
    assert (y.float() - expected).norm() < 0.005 * expected.norm()


@DTYPES
@BIAS
@pytest.mark.parametrize("per_row", [False, True], ids=["one-scale", "scale-per-row"])
@pytest.mark.parametrize("input_scale", [None, 0.3], ids=["dynamic", "static"])
def test_fp8_tensor(dtype, with_bias, per_row, input_scale):
    static = None if input_scale is None else torch.tensor([input_scale])
    weight = QuantizedTensor.from_float(
        values(32, 64), FORMATS["fp8-tensor"].layout_name, per_row=per_row, input_scale=static
    )
    codes, params = weight._qdata, weight._params
    x, bias = tokens(37, 64, dtype), values(32, seed=2).to(dtype) if with_bias else None
    y = TENSOR.linear(x, [codes, params.scale, params.input_scale], (32, 64), bias)
    assert (y.shape, y.dtype) == ((37, 32), dtype)
    expected = reference(x.float(), "fp8-tensor", codes, params, bias, "fp8-static")
    # with a scale per row the product is rounded to bfloat16 before the scales, then to the output
    assert close(y, expected, torch.bfloat16 if per_row and dtype != torch.float32 else dtype, 1 + per_row)


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(quantizers, "with_triton", lambda device: False)
    with FakeTensorMode():
        yield "cuda"


def empty(device, *shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device=device)


@DTYPES
@BIAS
@pytest.mark.parametrize("m", [1, 17, 300])
class TestOnAGpu:
    def test_fp8_tensor(self, cuda, dtype, m, with_bias):
        bias = empty(cuda, 48, dtype=dtype) if with_bias else None
        codes = empty(cuda, 48, 64, dtype=torch.float8_e4m3fn)
        for scales in (1, 48):
            for static in (0, 1):
                weight = [codes, empty(cuda, scales, 1), empty(cuda, static)]
                y = TENSOR.linear(empty(cuda, m, 64, dtype=dtype), weight, (48, 64), bias)
                assert (y.shape, y.dtype, y.device.type) == ((m, 48), dtype, "cuda")

    @pytest.mark.parametrize("n,k", [(128, 128), (384, 640), (256, 512)])
    def test_fp8_block128(self, cuda, dtype, m, with_bias, n, k):
        bias = empty(cuda, n, dtype=dtype) if with_bias else None
        codes, scale = empty(cuda, n, k, dtype=torch.float8_e4m3fn), empty(cuda, n // 128, k // 128)
        y = BLOCKS.linear(empty(cuda, m, k, dtype=dtype), [codes, scale], (n, k), bias)
        assert (y.shape, y.dtype, y.device.type) == ((m, n), dtype, "cuda")


def test_the_rules_for_blocks_are_really_checked(cuda):
    """Scales as our layouts hold them, not as cuBLAS reads them, are refused here as on a GPU."""
    scaling = torch.nn.functional.ScalingType
    codes, weight = (empty(cuda, 256, 640, dtype=torch.float8_e4m3fn) for _ in range(2))
    with pytest.raises((RuntimeError, ValueError)):
        torch.nn.functional.scaled_mm(
            codes,
            weight.t(),
            empty(cuda, 256, 5),
            scaling.BlockWise1x128,
            empty(cuda, 2, 5).t(),
            scaling.BlockWise128x128,
        )
