"""4 bits with zero points: comfy-kitchen's numbers, what rounding leaves, and which type scales are kept in."""

import comfy_kitchen.tensor
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor

from x2v_quant.formats import FORMATS, format_of
from x2v_quant.formats.awq_w4a16 import DEFAULT_GROUP, GROUPS, AwqW4A16Layout, name_of, narrowed
from x2v_quant.formats.requantize import requantized

LAYOUT = getattr(comfy_kitchen.tensor, "TensorCoreAWQW4A16Layout", None)
every_group = pytest.mark.parametrize("group", GROUPS)
ROWS, COLUMNS = 40, 384


def weight(seed=0, shift=0.0):
    w = torch.randn((ROWS, COLUMNS), generator=torch.Generator().manual_seed(seed))
    return (w + shift) * torch.logspace(-3, 2, ROWS).view(-1, 1)


def stored(group=DEFAULT_GROUP, **others):
    return FORMATS[name_of(group)].quantize(weight(**others), torch.float32)


def codes(tensor):
    octets = tensor._qdata.view(torch.uint8)
    return torch.stack((octets & 15, octets >> 4), dim=2).flatten(1).float()


@every_group
def test_the_weight_is_code_minus_eight_times_scale_plus_zeros(group):
    tensor = stored(group)
    scale, zeros = (one.float().repeat_interleave(group, 1) for one in (tensor._params.scale, tensor._params.zeros))
    assert torch.equal(tensor.dequantize(), (codes(tensor) - 8) * scale + zeros)
    assert tensor._params.scale.shape == tensor._params.zeros.shape == (ROWS, COLUMNS // group)
    assert (codes(tensor).amin(), codes(tensor).amax()) == (0, 15)


@pytest.mark.skipif(LAYOUT is None, reason="this comfy-kitchen has no awq_w4a16")
@every_group
def test_it_is_comfy_kitchens_weight(group):
    tensor = stored(group)
    of_file = tensor.state_dict("weight")
    params = LAYOUT.Params(
        scale=of_file["weight_scale"].float(),
        zeros=of_file["weight_zeros"].float(),
        orig_dtype=torch.float32,
        orig_shape=(ROWS, COLUMNS),
        group_size=group,
    )
    theirs = LAYOUT.dequantize(of_file["weight"], params)
    torch.testing.assert_close(tensor.dequantize(), theirs, rtol=1e-6, atol=0)


@every_group
@pytest.mark.parametrize("shift", [0.0, 1.0, -5.0])
def test_a_group_off_zero_costs_half_a_step_of_its_own_range(group, shift):
    w = weight(shift=shift)
    error = (stored(group, shift=shift).dequantize() - w).abs().unflatten(1, (-1, group)).amax(dim=2)
    groups = w.unflatten(1, (-1, group))
    step = (groups.amax(dim=2) - groups.amin(dim=2)) / 15
    # scale and zeros in bfloat16 are 1/512 of themselves off
    assert (error <= step / 2 + groups.abs().amax(dim=2) / 128).all()
    assert (error > step / 4).all()


@every_group
def test_zeros_give_zero(group):
    tensor = FORMATS[name_of(group)].quantize(torch.zeros(4, COLUMNS), torch.float32)
    assert torch.equal(tensor.dequantize(), torch.zeros(4, COLUMNS))


@every_group
def test_a_changed_weight_is_quantized_alike_and_rounded_by_the_seed(group):
    changed = requantized(stored(group), weight(seed=1), scale="recalculate", stochastic_rounding=7)
    assert format_of(changed).name == name_of(group)
    again = requantized(stored(group), weight(seed=1), scale="recalculate", stochastic_rounding=7)
    assert torch.equal(changed._qdata, again._qdata)
    assert not torch.equal(changed._qdata, stored(group, seed=1)._qdata)


def test_stochastic_rounding_has_no_bias():
    runs = [QuantizedTensor.from_float(weight(), AwqW4A16Layout.NAME, stochastic_rounding=s) for s in range(1, 101)]
    mean = sum(run.dequantize() for run in runs) / len(runs)
    inside = (codes(stored()) > 0) & (codes(stored()) < 15)
    nearest = ((stored().dequantize() - weight()) * inside).norm()
    assert ((mean - weight()) * inside).norm() < 0.25 * nearest


def test_given_scales_and_zeros_are_used_as_they_are():
    values = torch.tensor([-8.0, -0.5, 0.5, 1.5, 7.0, 99.0, -99.0, 2.5]).repeat(8).view(1, 64) + 3
    ones, threes = torch.ones(1, 1), torch.full((1, 1), 3.0)
    tensor = QuantizedTensor.from_float(values, AwqW4A16Layout.NAME, scale=ones, zeros=threes)
    assert (tensor.dequantize()[0, :8] - 3).tolist() == [-8, 0, 0, 2, 7, 7, -8, 2]


@pytest.mark.parametrize(
    "values,dtype",
    [
        ([1.0, 2.0**100], torch.bfloat16),
        ([1.0 + 2.0**-10], torch.float16),
        ([1.0 + 2.0**-10, 2.0**100], torch.float32),
        ([1.0 + 2.0**-20], torch.float32),
    ],
)
def test_numbers_are_kept_in_the_smallest_type_that_has_them(values, dtype):
    found = narrowed(torch.tensor(values))
    assert found.dtype is dtype
    assert torch.equal(found.float(), torch.tensor(values))


def test_a_weight_that_groups_do_not_divide_is_refused_in_words():
    with pytest.raises(ValueError, match=r"^awq-w4a16-128 has groups of 128 in_features, this layer has 192"):
        FORMATS["awq-w4a16-128"].quantize(torch.zeros(4, 192), torch.float32)
