"""fp8 with float16 sums: that no sum can overflow, and what the rounding costs.

The tensor core adds 32 products to a float16 number and rounds; two such steps are a chunk of 64, which is then added
to a float32 sum. The same arithmetic is simulated here.
"""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS
from x2v_quant.formats.convert import convert
from x2v_quant.formats.fp8_reduced import Fp8ReducedLayout
from x2v_quant.kernels.activation import FP8_REDUCED_MAX, quantize_fp8, quantize_fp8_reduced
from x2v_quant.kernels.triton_tiles import F16_CHUNK

STEP = 32
LARGEST_FLOAT16 = torch.finfo(torch.float16).max

E4M3 = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
WEIGHTS = E4M3[E4M3.abs() <= Fp8ReducedLayout.MAX].tolist()
ACTIVATIONS = E4M3[E4M3.abs() <= FP8_REDUCED_MAX].tolist()


def test_the_bound():
    assert Fp8ReducedLayout.MAX * FP8_REDUCED_MAX * F16_CHUNK <= LARGEST_FLOAT16


def chunks(values, size):
    """[..., any] -> [..., chunks, size], padded with zeros."""
    padded = torch.nn.functional.pad(values, (0, -values.shape[-1] % size))
    return padded.unflatten(-1, (-1, size))


def float16_sums(x, w):
    """x [M, K] and w [N, K] codes as float32 -> the float16 sum after each step [M, N, chunks, steps]."""
    products = torch.einsum("mcsk,ncsk->mncs", chunks(chunks(x, F16_CHUNK), STEP), chunks(chunks(w, F16_CHUNK), STEP))
    sums = torch.empty_like(products)
    running = torch.zeros_like(products[..., 0])
    for step in range(products.shape[-1]):
        running = (running + products[..., step]).half().float()
        sums[..., step] = running
    return sums


def product(x, w):
    return float16_sums(x, w)[..., -1].sum(-1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(WEIGHTS), min_size=F16_CHUNK, max_size=F16_CHUNK),
    st.lists(st.sampled_from(ACTIVATIONS), min_size=F16_CHUNK, max_size=F16_CHUNK),
    st.randoms(use_true_random=False),
)
def test_no_codes_overflow_in_any_order_of_adding(w, x, random):
    """One float16 rounding per product, which is more than any tensor core does, in any order."""
    pairs = list(zip(w, x, strict=True))
    random.shuffle(pairs)
    running = torch.zeros((), dtype=torch.float16)
    for a, b in pairs:
        running = (running.float() + a * b).half()
        assert running.isfinite()


@pytest.mark.parametrize("signs", ["all-positive", "all-negative", "first-half-negative"])
def test_the_worst_codes_stay_finite(signs):
    k = 13824
    x, w = torch.full((2, k), FP8_REDUCED_MAX), torch.full((2, k), Fp8ReducedLayout.MAX)
    if signs != "all-positive":
        w[:, : k if signs == "all-negative" else k // 2] *= -1
    sums = float16_sums(x, w)
    assert sums.isfinite().all()
    assert sums.abs().max() == Fp8ReducedLayout.MAX * FP8_REDUCED_MAX * F16_CHUNK
    assert torch.equal(sums[..., -1].sum(-1), x @ w.t())


def test_larger_codes_would_overflow():
    """The maxima are needed: with e4m3's own, the simulation shows what a GPU would do."""
    assert not float16_sums(torch.full((1, 64), 448.0), torch.full((1, 64), 448.0)).isfinite().all()


def layer(k, seed):
    """Tokens with a few outlier channels, as video models have, and weights of uneven rows."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((48, k), generator=generator)
    x[:, torch.randperm(k, generator=generator)[: k // 256]] *= 40
    w = torch.randn((192, k), generator=generator) * torch.rand((192, 1), generator=generator).add(0.2)
    return x, w / k**0.5


def errors(k, seed):
    """Relative error against float64 -> of ordinary fp8 and of float16 sums, both from the same fp8-channel weight."""
    x, w = layer(k, seed)
    exact = x.double() @ w.double().t()
    stored = QuantizedTensor.from_float(w, FORMATS["fp8-channel"].layout_name)
    reduced = convert(stored, "fp8-reduced")
    assert reduced._qdata.float().abs().max() <= Fp8ReducedLayout.MAX
    results = []
    for weight, quantize, multiply in (
        (stored, quantize_fp8, lambda x, w: x @ w.t()),
        (reduced, quantize_fp8_reduced, product),
    ):
        codes, scale = quantize(x)
        y = multiply(codes.float(), weight._qdata.float()) * scale * weight._params.scale.t()
        results.append(((y - exact).norm() / exact.norm()).item())
    return results


@pytest.mark.parametrize("k", [1536, 5120, 8960, 13824])
def test_float16_sums_cost_next_to_nothing(k):
    """Measured: 3.2 to 3.7 % with float32 sums, 3.3 to 3.6 % with float16 sums: the codes' own 3 bits."""
    ordinary, float16 = errors(k, seed=k)
    assert 0.02 < ordinary < 0.05
    assert float16 < 1.03 * ordinary


@pytest.mark.parametrize("k", [64, 100, 5120])
def test_float16_rounding_alone(k):
    """Against the exact sum of the same codes: measured 0.03 %, a hundredth of the codes' own error."""
    x, w = layer(k, seed=1)
    x, w = quantize_fp8_reduced(x)[0].float(), FORMATS["fp8-reduced"].quantize(w, torch.float32)._qdata.float()
    exact = x.double() @ w.double().t()
    assert (product(x, w) - exact).norm() / exact.norm() < 1e-3


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-20, 1e-3, 1.0, 1e4, 1e30]))
@settings(max_examples=50, deadline=None)
def test_any_tokens_become_codes_within_the_bound(seed, magnitude):
    x = torch.randn((3, 96), generator=torch.Generator().manual_seed(seed)) ** 5 * magnitude
    codes, scale = quantize_fp8_reduced(x)
    assert codes.float().abs().max() <= FP8_REDUCED_MAX
    assert scale.isfinite().all()
