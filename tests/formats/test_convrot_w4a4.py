"""Rotated int4: the bytes and numbers of comfy-kitchen, in the weight and in the activations."""

import comfy_kitchen
import comfy_kitchen.tensor
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import decibels

from x2v_quant.formats import FORMATS, fitting, format_of
from x2v_quant.formats.convrot_w4a4 import GROUPS, NAMES, expanded, name_of, signed_pairs
from x2v_quant.formats.int8_convrot import rotated
from x2v_quant.formats.requantize import requantized
from x2v_quant.kernels import KERNELS
from x2v_quant.kernels.reference import reference

LAYOUT = "TensorCoreConvRotW4A4Layout"
of_kitchen = pytest.mark.skipif(
    not hasattr(comfy_kitchen.tensor, LAYOUT), reason="this comfy-kitchen has no convrot_w4a4"
)
every_one = pytest.mark.parametrize("group,linear_dtype", NAMES, ids=str)


def weight(rows=40, columns=512, seed=0):
    return torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))


def stored(group, linear_dtype="int4", dtype=torch.float32):
    return FORMATS[name_of(group, linear_dtype)].quantize(weight(), dtype)


@of_kitchen
@every_one
def test_codes_scales_and_weight_are_comfy_kitchens(group, linear_dtype):
    ours = stored(group, linear_dtype)
    settings = {"convrot_groupsize": group, "linear_dtype": linear_dtype}
    theirs = QuantizedTensor.from_float(weight(), LAYOUT, **settings)
    saved = ours.state_dict("weight")
    assert {name: tensor.shape for name, tensor in saved.items()} == {"weight": (40, 256), "weight_scale": (40,)}
    assert torch.equal(saved["weight"], theirs._qdata)
    assert torch.equal(saved["weight_scale"], theirs._params.scale)
    torch.testing.assert_close(ours.dequantize(), theirs.dequantize(), rtol=1e-6, atol=1e-6)


@of_kitchen
@pytest.mark.parametrize("group", GROUPS)
def test_what_is_multiplied_is_comfy_kitchens(group):
    """Its own computation on a CPU has 4 bits for activations, whatever a file says."""
    tensor, x, bias = stored(group), weight(9, seed=1) * torch.linspace(0.1, 9, 9).view(-1, 1), torch.randn(40)
    params = tensor._params
    theirs = comfy_kitchen.convrot_w4a4_linear(
        x, tensor._qdata, params.scale.view(-1), bias, convrot_groupsize=group, linear_dtype="int4"
    )
    row = FORMATS[name_of(group)]
    ours = reference(x, row.name, tensor._qdata, params, bias, row.activation)
    assert (ours - theirs).norm() < 1e-5 * theirs.norm()


@every_one
def test_codes_are_within_half_a_step_of_the_rotated_weight(group, linear_dtype):
    tensor = stored(group, linear_dtype)
    codes, scale = expanded(tensor._qdata).float(), tensor._params.scale
    error = (codes - rotated(weight(), group) / scale).abs()
    assert 0.4 < error.max() <= 0.501
    assert (codes.abs().amax(dim=1) == 7).all()


def test_pairs_have_every_code():
    codes = torch.arange(-8, 8, dtype=torch.int8).repeat(3, 1)
    pairs = signed_pairs(codes)
    assert pairs[0, :4].tolist() == [-104, -70, -36, -2]  # 0x98, 0xBA, 0xDC, 0xFE
    assert torch.equal(expanded(pairs), codes)


@every_one
def test_a_changed_weight_is_rotated_alike_and_rounded_by_the_seed(group, linear_dtype):
    held = stored(group, linear_dtype, torch.bfloat16)
    again = requantized(held, weight(seed=1), scale="recalculate", stochastic_rounding=7, inplace_ops=True)
    assert format_of(again).name == name_of(group, linear_dtype)
    assert torch.equal(requantized(held, weight(seed=1), stochastic_rounding=7)._qdata, again._qdata)
    assert not torch.equal(requantized(held, weight(seed=1), stochastic_rounding=8)._qdata, again._qdata)
    assert decibels(weight(seed=1), again.dequantize()) > 10


@pytest.mark.parametrize("columns,group", [(5120, 256), (320, 64), (8960, 256)])
def test_a_layer_gets_the_widest_group_that_divides_it(columns, group):
    assert fitting("convrot-w4a4", (8, columns)) == name_of(group)


def test_a_width_that_core_does_not_take_is_refused_in_words():
    words = r"^convrot-w4a4-16 wants in_features to be a multiple of 64, this layer has 48"
    with pytest.raises(ValueError, match=words):
        FORMATS["convrot-w4a4-16"].quantize(torch.zeros(4, 48), torch.float32)


@pytest.mark.parametrize("capability,expected", [((7, 5), None), ((8, 0), "int4"), ((8, 9), "int4"), ((9, 0), "int8")])
def test_comfy_kitchen_has_four_bits_for_activations_where_gpus_multiply_them(capability, expected):
    rows = [kernel for kernel in KERNELS if (kernel.name, kernel.format) == ("comfy-kitchen", "convrot-w4a4")]
    fitting_rows = [
        kernel.activation.partition("-")[0]
        for kernel in rows
        if kernel.requires.min_capability <= capability <= (kernel.requires.max_capability or (99, 0))
    ]
    assert fitting_rows == ([expected] if expected else [])
