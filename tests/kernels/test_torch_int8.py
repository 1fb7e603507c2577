"""int8 on a CPU in several passes against the whole product, bit for bit."""

from types import SimpleNamespace

import pytest
import torch

from x2v_quant.kernels import activation, torch_int8

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
SHAPES = [(1, 16, 16), (33, 515, 65), (70, 129, 96), (64, 130, 31)]


def codes(rows, width):
    drawn = torch.randint(-127, 128, (rows, width), generator=torch.Generator().manual_seed(rows * width))
    return drawn.to(torch.int8)


@DTYPES
@pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("m,n,k", SHAPES)
@pytest.mark.parametrize(
    "limits",
    [
        {"CPU_COLUMNS": 64, "CPU_VALUES": 1},
        {"CPU_COLUMNS": 128, "CPU_VALUES": 128 * 9},
        {"CPU_ACCUMULATORS": 1, "FEWEST_COLUMNS": 50, "CPU_VALUES": 500},
        {},
    ],
    ids=["row by row", "blocks", "little memory", "as it is"],
)
def test_passes_give_the_whole_product(monkeypatch, limits, m, n, k, with_bias, dtype):
    for name, value in limits.items():
        monkeypatch.setattr(torch_int8, name, value)
    x, weight = codes(m, k), codes(n, k)
    token_scale, scale = torch.rand(m, 1) + 0.01, torch.rand(n, 1) + 0.01
    bias = torch.randn(n) if with_bias else None
    y = torch_int8.int8_mm((x, token_scale), SimpleNamespace(codes=weight, scale=scale, shape=(n, k)), bias, dtype)
    sums = (x.double() @ weight.double().t()).float() * token_scale
    assert torch.equal(y, torch.addcmul(bias if with_bias else torch.zeros(n), sums, scale.view(1, -1)).to(dtype))


def test_accumulators_of_a_long_video_take_a_bounded_amount_of_memory(monkeypatch):
    monkeypatch.setattr(torch_int8, "CPU_ACCUMULATORS", 4096)
    monkeypatch.setattr(torch_int8, "FEWEST_COLUMNS", 8)
    seen, multiply = [], torch._int_mm

    def recorded(left, right, out):
        seen.append(out.numel())
        return multiply(left, right, out=out)

    monkeypatch.setattr(torch, "_int_mm", recorded)
    weight = SimpleNamespace(codes=codes(100, 32), scale=torch.ones(100, 1), shape=(100, 32))
    torch_int8.int8_mm((codes(200, 32), torch.ones(200, 1)), weight, None, torch.float32)
    assert len(seen) == 5
    assert max(seen) <= 4096
    assert sum(seen) == 200 * 100


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rotation", [0, 16])
def test_codes_of_16_bit_tokens_are_those_of_the_same_values_in_float32(dtype, rotation, monkeypatch):
    monkeypatch.setattr(activation, "CPU_VALUES", 3 * 64)  # several passes
    x = (torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    x[4] = 0
    before = x.clone()
    found = activation.quantize_int8(x, rotation=rotation)
    for one, other in zip(found, activation.quantize_int8(x.float(), rotation=rotation), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(x, before)
