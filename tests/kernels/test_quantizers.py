"""Which quantizer serves the kernels that bring none, and that padding adds zero tokens and nothing else."""

import pytest
import torch

from x2v_quant.formats.int8_convrot import rotated
from x2v_quant.kernels import quantizers
from x2v_quant.kernels.activation import quantize_fp8, quantize_fp8_group128, quantize_int8

PLAIN = {"int8": quantize_int8, "fp8": quantize_fp8}


class OnTorch:
    """Triton's functions with torch's arithmetic: what padding does to them is the same."""

    @staticmethod
    def quantize_tokens(x, kind, pre_quant_scale, rotation=0):
        rotated = {"rotation": rotation} if rotation else {}
        return PLAIN[kind](x, pre_quant_scale=pre_quant_scale, **rotated)

    @staticmethod
    def quantize_token_groups(x):
        codes, scale = quantize_fp8_group128(x)
        return codes, scale.t().contiguous()


@pytest.fixture(params=[False, True], ids=["torch", "triton"])
def with_triton(request, monkeypatch):
    monkeypatch.setattr(quantizers, "with_triton", lambda device: request.param)
    monkeypatch.setattr(type(quantizers.TRITON), "loaded", lambda self: OnTorch)


@pytest.mark.usefixtures("with_triton")
@pytest.mark.parametrize("rows", [1, 4, 33])
@pytest.mark.parametrize("multiple", [1, 4, 32])
class TestPadding:
    @pytest.mark.parametrize("kind", PLAIN)
    def test_per_token(self, kind, rows, multiple):
        x = torch.randn(rows, 70)
        codes, scale = quantizers.per_token(x, kind, multiple)
        self.check(codes, scale, *PLAIN[kind](x), multiple)
        assert codes.is_contiguous()
        assert scale.is_contiguous()

    @pytest.mark.parametrize("kind", PLAIN)
    def test_per_token_smoothed(self, kind, rows, multiple):
        x, factor = torch.randn(rows, 70), torch.rand(70) + 0.1
        codes, scale = quantizers.per_token(x, kind, multiple, factor)
        self.check(codes, scale, *PLAIN[kind](x * factor), multiple)

    def test_per_token_smoothed_and_rotated(self, rows, multiple):
        x, factor = torch.randn(rows, 128), torch.rand(128) + 0.1
        codes, scale = quantizers.per_token(x, "int8", multiple, factor, 64)
        self.check(codes, scale, *quantize_int8(rotated(x * factor, 64)), multiple)

    def test_per_token_and_group(self, rows, multiple):
        x = torch.randn(rows, 300)
        codes, scale = quantizers.per_token_groups(x, multiple)
        self.check(codes, scale, *quantize_fp8_group128(x), multiple)
        assert scale.t().is_contiguous()

    def check(self, codes, scale, expected, expected_scale, multiple):
        rows = expected.shape[0]
        assert codes.shape[0] == scale.shape[0] == -(-rows // multiple) * multiple
        assert torch.equal(codes[:rows].float(), expected.float())
        assert torch.equal(scale[:rows], expected_scale)
        assert not codes[rows:].float().any()
        assert not scale[rows:].any()


def test_a_cpu_never_runs_triton():
    assert quantizers.with_triton(torch.device("cpu")) is False


@pytest.mark.gpu
def test_a_gpu_takes_triton_only_where_it_agrees_with_torch(monkeypatch):
    device = torch.device("cuda", torch.cuda.current_device())
    quantizers.with_triton.cache_clear()

    def fails(*_):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(type(quantizers.TRITON), "loaded", lambda self: type("T", (), {"quantize_tokens": fails}))
    assert quantizers.with_triton(device) is False
    quantizers.with_triton.cache_clear()
