"""The CUDA routes against torch's own shape, stride and dtype rules for a GPU, with tensors that hold no data."""

from types import SimpleNamespace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from x2v_quant.kernels import quantizers, torch_fp8
from x2v_quant.kernels.activation import quantize_fp8
from x2v_quant.kernels.ops import COMPUTATIONS


@pytest.fixture
def cuda(monkeypatch):
    monkeypatch.setattr(quantizers, "with_triton", lambda device: False)
    with FakeTensorMode():
        yield "cuda"


def tensors(device, m, n, k, codes, dtype):
    return (
        torch.empty((m, k), dtype=dtype, device=device),
        torch.empty((n, k), dtype=codes, device=device),
        torch.empty((n, 1), dtype=torch.float32, device=device),
        torch.empty(n, dtype=dtype, device=device),
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("m", [1, 17, 300])
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
class TestOnAGpu:
    @pytest.mark.parametrize(
        "name", ["torch-rowwise fp8-channel", "torch-tensorwise fp8-channel"], ids=["rowwise", "tensorwise"]
    )
    def test_fp8(self, cuda, name, dtype, m, with_bias):
        x, codes, scale, bias = tensors(cuda, m, 48, 64, torch.float8_e4m3fn, dtype)
        y = COMPUTATIONS[name].linear(x, [codes, scale], (48, 64), bias if with_bias else None)
        assert (y.shape, y.dtype, y.device.type) == ((m, 48), dtype, "cuda")

    def test_int8(self, cuda, dtype, m, with_bias):
        x, codes, scale, bias = tensors(cuda, m, 48, 64, torch.int8, dtype)
        y = COMPUTATIONS["torch int8-channel #2"].linear(x, [codes, scale], (48, 64), bias if with_bias else None)
        assert (y.shape, y.dtype, y.device.type) == ((m, 48), dtype, "cuda")


class Sums(TorchFunctionMode):
    """How the calls of torch._scaled_mm sum."""

    def __init__(self):
        super().__init__()
        self.fast = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch._scaled_mm:
            self.fast.append(bool((kwargs or {}).get("use_fast_accum", False)))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name,fast", [("torch-rowwise fp8-channel", True), ("torch-tensorwise fp8-channel", False)])
def test_which_products_sum_fast(cuda, name, fast):
    x, codes, scale, bias = tensors(cuda, 300, 48, 64, torch.float8_e4m3fn, torch.bfloat16)
    computation = COMPUTATIONS[name]
    with Sums() as sums:
        computation.linear(x, [codes, scale], (48, 64), bias)
    assert sums.fast == [fast]


def test_the_rules_are_really_checked(cuda):
    """A layout that a GPU would refuse is refused here too, so the tests above mean something."""
    x, codes, scale, _ = tensors(cuda, 32, 48, 64, torch.float8_e4m3fn, torch.bfloat16)
    quantized, token_scale = quantize_fp8(x)
    with pytest.raises(RuntimeError):
        weight = SimpleNamespace(codes=codes, scale=scale, shape=(48, 64))
        torch_fp8.rowwise_mm((quantized, token_scale.t()), weight, None, torch.bfloat16)
    with pytest.raises(RuntimeError):
        torch._scaled_mm(quantized, codes.t().contiguous(), scale_a=token_scale, scale_b=scale.view(1, -1))
