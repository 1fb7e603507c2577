"""Smoothed formats: the weight that they stand for, and what stays when it is quantized again."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.formats.int8_convrot import rotated
from x2v_quant.formats.requantize import requantized

N, K = 64, 256
# those that weights can be given a factor in: the others have wider groups than K
HERE = {
    plain: smooth for plain, smooth in SMOOTHED.items() if K % FORMATS[plain].settings.get("convrot_groupsize", 1) == 0
}
# half of the largest step, in units of the absolute maximum of the weights that share a scale
HALF_STEP = {"int8": 0.5 / 127, "fp8": 16 / 448, "int4": 0.5 / 7}
every_pair = pytest.mark.parametrize("plain,smooth", HERE.items())


def weight(seed=0):
    return torch.randn((N, K), generator=torch.Generator().manual_seed(seed))


def held_within_steps(plain, values, wanted, halves):
    """Whether `values` are as near to `wanted`, where both are divided by the factors, as so many half steps."""
    rotation = FORMATS[plain].settings.get("convrot_groupsize")
    if rotation:
        values, wanted = rotated(values, rotation), rotated(wanted, rotation)
    most = wanted.abs().amax(1, keepdim=True)
    return bool(((values - wanted).abs() <= halves * 1.002 * HALF_STEP[plain[:4].strip("-")] * most).all())


def factors(seed=1):
    return torch.rand(K, generator=torch.Generator().manual_seed(seed)) + 0.02


@every_pair
def test_codes_are_those_of_the_divided_weight(plain, smooth):
    w, factor = weight(), factors()
    held = FORMATS[smooth].quantize(w, torch.float32, pre_quant_scale=factor)
    divided = FORMATS[plain].quantize(w / factor, torch.float32)
    assert torch.equal(held._qdata.view(torch.uint8), divided._qdata.view(torch.uint8))
    assert torch.equal(held._params.scale, divided._params.scale)
    assert torch.equal(held._params.pre_quant_scale, factor)
    expected = divided.dequantize().double() * factor.double()
    torch.testing.assert_close(held.dequantize().double(), expected, rtol=1e-6, atol=0)


@every_pair
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_it_is_dequantized_with_one_rounding(plain, smooth, dtype):
    factor = factors()
    held = FORMATS[smooth].quantize(weight(), torch.float32, pre_quant_scale=factor)
    divided = FORMATS[plain].quantize(weight() / factor, torch.float32).dequantize()
    assert torch.equal(held.to(dtype).dequantize(), (divided * factor).to(dtype))


@every_pair
@pytest.mark.parametrize("seed", [0, 7], ids=["nearest", "stochastic"])
def test_a_changed_weight_is_quantized_with_the_same_factors(plain, smooth, seed):
    """What core does after a LoRA."""
    factor = factors()
    held = FORMATS[smooth].quantize(weight(), torch.float32, pre_quant_scale=factor)
    changed = weight() + 0.3 * weight(seed=5)
    again = requantized(held, changed.clone(), scale="recalculate", stochastic_rounding=seed, inplace_ops=True)
    assert torch.equal(again._params.pre_quant_scale, factor)
    assert held_within_steps(plain, again.dequantize() / factor, changed / factor, 2)


def test_without_factors_it_is_the_plain_format():
    for plain, smooth in HERE.items():
        one, other = (FORMATS[name].quantize(weight(), torch.float32) for name in (plain, smooth))
        assert torch.equal(one.dequantize(), other.dequantize())
        assert (other._params.pre_quant_scale == 1).all()


@settings(max_examples=30, deadline=None)
@given(
    plain=st.sampled_from(sorted(HERE)),
    exponents=st.lists(st.integers(-12, 0), min_size=K, max_size=K),
    seed=st.integers(0, 99),
)
def test_powers_of_two_cost_nothing_beyond_the_rows_own_steps(plain, exponents, seed):
    factor = 2.0 ** torch.tensor(exponents)
    w = torch.randn((N, K), generator=torch.Generator().manual_seed(seed))
    held = FORMATS[SMOOTHED[plain]].quantize(w, torch.float32, pre_quant_scale=factor)
    assert held_within_steps(plain, held.dequantize() / factor, w / factor, 1)


@every_pair
def test_it_moves_and_is_rebuilt_with_its_factors(plain, smooth):
    held = FORMATS[smooth].quantize(weight(), torch.float32, pre_quant_scale=factors())
    assert held.to("meta")._params.pre_quant_scale.device.type == "meta"
    names, context = held.__tensor_flatten__()
    rebuilt = QuantizedTensor.__tensor_unflatten__({n: getattr(held, n) for n in names}, context, None, None)
    assert torch.equal(rebuilt.dequantize(), held.dequantize())
