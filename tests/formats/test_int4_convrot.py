"""int4 of a rotated weight: the plain format's codes in another basis, and what the rotation is for."""

import pytest
import torch
from outlier_layer import outlier_layer

from x2v_quant.formats import FORMATS, ROTATIONS, fitting, format_of
from x2v_quant.formats.int4_convrot import NAME
from x2v_quant.formats.int8_convrot import rotated
from x2v_quant.formats.requantize import requantized

from .weights import same_bits

every_rotation = pytest.mark.parametrize("rotation", ROTATIONS[NAME])


def weight(rows=24, columns=512, seed=0):
    return torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))


@every_rotation
def test_codes_are_int4s_of_the_rotated_weight(rotation):
    w = weight()
    ours = FORMATS[ROTATIONS[NAME][rotation]].quantize(w, torch.float32)
    plain = FORMATS["int4-g128"].quantize(rotated(w, rotation), torch.float32)
    assert same_bits(ours._qdata, plain._qdata)
    assert torch.equal(ours._params.scale, plain._params.scale)
    torch.testing.assert_close(ours.dequantize(), rotated(plain.dequantize(), rotation))
    assert format_of(ours).rotation == rotation


@every_rotation
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_the_weight_is_rounded_once(rotation, dtype):
    row = FORMATS[ROTATIONS[NAME][rotation]]
    in_16, in_32 = (row.quantize(weight(), kind).dequantize() for kind in (dtype, torch.float32))
    assert torch.equal(in_16, in_32.to(dtype))


@every_rotation
def test_a_changed_weight_is_rotated_alike_and_rounded_by_the_seed(rotation):
    held = FORMATS[ROTATIONS[NAME][rotation]].quantize(weight(), torch.float32)
    changed = weight(seed=1)
    made = requantized(held, changed, scale="recalculate")
    assert made._params.convrot_groupsize == rotation
    assert float((made.dequantize() - changed).norm() / changed.norm()) < 0.13
    mean = torch.stack(
        [
            requantized(held, changed, scale="recalculate", stochastic_rounding=seed).dequantize()
            for seed in range(1, 200)
        ]
    ).mean(0)
    assert float((mean - changed).norm()) < 0.4 * float((made.dequantize() - changed).norm())


def test_a_layer_gets_the_widest_rotation_that_divides_it():
    for columns, rotation in ((5120, 256), (128, 64), (48, 16), (20, 4)):
        assert FORMATS[fitting(NAME, (8, columns))].rotation == rotation


@pytest.mark.slow
def test_gptq_gains_from_it_on_outliers():
    """By more than ten decibels over int4 that is rounded to the nearest, with or without the rotation."""
    layer = outlier_layer()
    found = {name: layer.snr(name, layer.tensors(name, "gptq")) for name in ("int4-g128", NAME)}
    assert found[NAME] >= 33
    assert found[NAME] >= found["int4-g128"] + 8
    assert found[NAME] >= layer.snr(NAME, layer.tensors(NAME, "nearest")) + 10
