"""Rotated int8: the same numbers as comfy-kitchen's, and what the rotation is for."""

import comfy_kitchen.tensor
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import decibels
from older_comfyui import core_rotates_int8

from x2v_quant.formats import FORMATS, ROTATED, fitting, format_of, original
from x2v_quant.formats.convert import serves
from x2v_quant.formats.core_layout import renamed
from x2v_quant.formats.int8_convrot import CORES, GROUPS, hadamard, name_of, rotated, rotated_in_steps
from x2v_quant.formats.requantize import requantized
from x2v_quant.kernels.activation import SIMULATED

pytestmark = core_rotates_int8
every_group = pytest.mark.parametrize("group", GROUPS)


def weight(rows, columns, seed=0):
    return torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))


@every_group
def test_the_matrix_is_symmetric_its_own_inverse_and_comfy_kitchens(group):
    h = hadamard(group, torch.device("cpu"))
    assert torch.equal(h, h.t())
    torch.testing.assert_close(h @ h, torch.eye(group), atol=1e-5, rtol=0)
    assert torch.equal(h, comfy_kitchen.tensor.int8_utils._build_hadamard(group))


@every_group
def test_in_steps_it_is_the_same_rotation(group):
    x = weight(9, 4096)
    exact = x.double().unflatten(1, (-1, group)) @ hadamard(group, x.device).double()
    for turned in (rotated, rotated_in_steps):
        torch.testing.assert_close(turned(x, group).double(), exact.flatten(1), rtol=0, atol=1e-5)


@every_group
def test_codes_scales_and_weight_are_comfy_kitchens(group):
    w = weight(40, 2 * max(group, 256))
    ours = FORMATS[name_of(group)].quantize(w, torch.float32)
    theirs = QuantizedTensor.from_float(w, CORES, per_channel=True, convrot=True, convrot_groupsize=group)
    assert torch.equal(ours._qdata, theirs._qdata)
    assert torch.equal(ours._params.scale, theirs._params.scale)
    assert ours._params.scale.shape == (40, 1)
    assert format_of(renamed(theirs)).name == name_of(group)
    expected = rotated(ours._qdata.float() * ours._params.scale, group)
    torch.testing.assert_close(ours.dequantize(), expected, rtol=1e-5, atol=1e-6)


@every_group
def test_codes_are_within_half_a_step_of_the_rotated_weight(group):
    w = weight(24, 2 * max(group, 64)) * torch.logspace(-4, 3, 24).view(-1, 1)
    held = FORMATS[name_of(group)].quantize(w, torch.float32)
    error = (held._qdata.float() - rotated(w, group) / held._params.scale).abs()
    assert 0.4 < error.max() <= 0.501
    assert (held._qdata.float().abs().amax(dim=1) == 127).all()


def test_core_s_plain_int8_is_no_row_of_it():
    plain = QuantizedTensor.from_float(weight(8, 256), CORES, per_channel=True)
    assert format_of(renamed(plain)) is None


@every_group
def test_a_changed_weight_is_rotated_alike_and_rounded_by_the_seed(group):
    held = FORMATS[name_of(group)].quantize(weight(8, 4096), torch.bfloat16)
    changed = weight(8, 4096, seed=1)
    again = requantized(held, changed, scale="recalculate", stochastic_rounding=7, inplace_ops=True)
    assert format_of(again).name == name_of(group)
    assert decibels(changed, again.dequantize()) > 35
    assert torch.equal(requantized(held, changed, stochastic_rounding=7)._qdata, again._qdata)
    assert not torch.equal(requantized(held, changed, stochastic_rounding=8)._qdata, again._qdata)


@pytest.mark.parametrize("columns,group", [(5120, 256), (13824, 256), (320, 64), (48, 16), (20, 4), (4096, 256)])
def test_a_layer_gets_the_widest_group_that_divides_it_up_to_cores_default(columns, group):
    assert fitting("int8-convrot", (8, columns)) == name_of(group)
    assert fitting("int8-channel", (8, columns)) == "int8-channel"


def test_every_group_is_served_by_the_same_schemes_and_stays_what_it_is():
    assert set(ROTATED) == set(GROUPS)
    for name in ROTATED.values():
        assert serves(name, "int8-convrot")
        assert original(name) == name
    assert not serves("int8-channel", "int8-convrot")


def test_outlier_channels_no_longer_cost_the_others_their_bits():
    """K 5120, 1 % of the channels x 20 to 50, weights and activations both quantized."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn((256, 5120), generator=generator), torch.randn((512, 5120), generator=generator)
    channels = torch.randperm(5120, generator=generator)[:51]
    x[:, channels] *= torch.linspace(20, 50, 51)
    y = x @ w.t()

    def output(name):
        held = FORMATS[name].quantize(w, torch.float32)
        return SIMULATED[FORMATS[name].activation](x, {}) @ held.dequantize().t()

    assert decibels(y, output("int8-convrot")) > 37
    assert decibels(y, output("int8-channel")) < 25
