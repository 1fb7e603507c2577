"""w4a8: what comfy-kitchen's quantizer makes, bit for bit, and what the format is for."""

import pytest
import torch
import w4a8_vectors as vectors
from distance import decibels

from x2v_quant.formats import FORMATS, ROTATIONS, fitting, format_of, like, lloyd_max, original
from x2v_quant.formats.convert import added_error, convert, serves
from x2v_quant.formats.int8_convrot import rotated
from x2v_quant.formats.lloyd_max import GAUSSIAN, fitted, nearest
from x2v_quant.formats.requantize import requantized
from x2v_quant.formats.w4a8 import NAME, W4A8Layout, name_of
from x2v_quant.formats.w4a8_codes import level_table, levels, packed, unpacked
from x2v_quant.kernels.activation import SIMULATED
from x2v_quant.layer_rules.shapes import why_not

from .weights import same_bits

every_rotation = pytest.mark.parametrize("rotation", ROTATIONS[NAME])


def weight(rows, columns, seed=0):
    return torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))


def parts(stored):
    return dict(zip(FORMATS[NAME].tensors, FORMATS[NAME].parts(stored._qdata, stored._params), strict=True))


class TestAgainstComfyKitchen:
    """tests/data/record_w4a8.py recorded what its layout makes."""

    def same(self, made, recorded):
        assert same_bits(made["codes"], recorded["weight"])
        assert same_bits(made["scale"], recorded["weight_s_rel"])
        assert torch.equal(made["s_channel"], recorded["weight_s_channel"])
        assert torch.equal(made["codebook"], recorded["weight_codebook"])

    @pytest.mark.parametrize("case", vectors.PLAIN)
    def test_codes_scales_and_table_are_its_own(self, case):
        recorded = vectors.tensors(case)
        row = FORMATS[name_of(vectors.ROTATIONS[case])]
        self.same(row.encode(recorded["float"]), recorded)

    @pytest.mark.parametrize("case", vectors.PLAIN)
    def test_so_is_the_weight_that_they_stand_for(self, case):
        recorded = vectors.tensors(case)
        stored = FORMATS[name_of(vectors.ROTATIONS[case])].quantize(recorded["float"], torch.float32)
        assert torch.equal(stored.dequantize(), recorded["dequantized"])

    def test_a_seed_rounds_as_its_own_does(self):
        recorded = vectors.tensors("seed")
        self.same(FORMATS[NAME].encode(recorded["float"], stochastic_rounding=7), recorded)

    def test_the_table_of_heavy_tailed_groups_is_not_the_usual_one(self):
        table = vectors.tensors("heavy")["weight_codebook"]
        assert (table - torch.tensor(GAUSSIAN)).abs().max() > 0.02


def test_each_level_is_the_mean_of_the_gaussian_weights_that_are_nearest():
    """Lloyd's condition, for groups of 16 that are divided by their absolute maximum."""
    groups = weight(20_000, 16)
    values, table = (groups / groups.abs().amax(dim=1, keepdim=True)).flatten(), torch.tensor(GAUSSIAN)
    codes = nearest(values, table)
    means = torch.stack([values[codes == code].mean() for code in range(16)])
    assert (means - table).abs().max() < 0.004
    assert list(GAUSSIAN) == sorted(GAUSSIAN)


def test_a_table_of_values_that_repeat_stays_in_order():
    """comfy-kitchen's comes out of order there, and its search for the nearest level wants it in order."""
    values = torch.cat([torch.zeros(5000), weight(1, 4000).flatten() ** 3 / 50])
    table = fitted(values)
    assert (table.diff() >= 0).all()
    error = (values - table[nearest(values, table)]).square().mean()
    assert error < (values - torch.tensor(GAUSSIAN)[nearest(values, torch.tensor(GAUSSIAN))]).square().mean()


@pytest.mark.parametrize(
    "value,code", [(-9.0, 0), (-8.0, 0), (-0.6, 7), (-0.5, 7), (0.0, 8), (0.5, 8), (0.6, 9), (9.0, 15)]
)
def test_the_nearest_level_is_the_lower_of_two(value, code):
    table = torch.arange(-8.0, 8.0)
    assert nearest(torch.tensor([value]), table).item() == code
    assert nearest(torch.tensor([[value]]), table.view(1, 16)).item() == code


def test_two_codes_lie_in_a_byte_the_even_one_low():
    codes = torch.arange(16).repeat(2, 1)
    bytes_ = packed(codes).view(torch.uint8)
    assert bytes_[0, :2].tolist() == [0x10, 0x32]
    assert torch.equal(unpacked(packed(codes)).long(), codes)


def test_levels_are_looked_up_as_they_are_defined():
    codes = torch.randint(-128, 128, (7, 64), dtype=torch.int8, generator=torch.Generator().manual_seed(0))
    scale = torch.arange(7 * 8).view(7, 8).to(torch.uint8).mul(2).view(torch.float8_e4m3fn)
    table = torch.tensor(GAUSSIAN)
    values = table[unpacked(codes).long()] * scale.float().repeat_interleave(16, dim=1)
    assert torch.equal(levels(codes, scale, table), values.round().clamp(-127, 127).to(torch.int8))
    assert level_table(torch.tensor([448.0]), table).abs().max() == 127


@every_rotation
def test_every_code_is_the_nearest_level_of_its_group(rotation):
    w = weight(24, 512) * torch.logspace(-4, 3, 24).view(-1, 1)
    stored = parts(FORMATS[name_of(rotation)].quantize(w, torch.float32))
    table = level_table(stored["scale"], stored["codebook"])
    target = (rotated(w, rotation) / stored["s_channel"].unsqueeze(1)).unflatten(1, (-1, 16))
    chosen = levels(stored["codes"], stored["scale"], stored["codebook"]).float().unflatten(1, (-1, 16))
    least = (target.unsqueeze(-1) - table.unsqueeze(2)).abs().amin(dim=-1)
    torch.testing.assert_close((chosen - target).abs(), least)


def test_scales_by_least_squares_beat_the_largest_value():
    w = weight(64, 512)
    stored = FORMATS[NAME].quantize(w, torch.float32)
    groups = rotated(w, 256).unflatten(1, (-1, 16))
    largest = groups.abs().amax(dim=2, keepdim=True)
    table = torch.tensor(GAUSSIAN)
    plain = table[nearest(groups / largest, table)] * largest
    assert decibels(w, stored.dequantize()) > decibels(groups, plain) + 0.05


@every_rotation
def test_zeros_and_quiet_rows_stay_what_they_are(rotation):
    w = weight(8, 512)
    w[2], w[3] = 0, w[3] * 1e-7
    back = FORMATS[name_of(rotation)].quantize(w, torch.float32).dequantize()
    assert torch.equal(back[2], w[2])
    assert decibels(w[3], back[3]) > 15


def test_many_rows_are_quantized_as_few_are(monkeypatch):
    """In passes, so that memory stays small; the table is chosen for all of them."""
    w = weight(40, 512)
    whole = FORMATS[NAME].quantize(w, torch.float32)
    monkeypatch.setattr("x2v_quant.formats.w4a8_fit.CHUNK", 512 * 7)
    in_passes = FORMATS[NAME].quantize(w, torch.float32)
    for name, part in parts(in_passes).items():
        assert same_bits(part, parts(whole)[name])
    assert torch.equal(in_passes.dequantize(), whole.dequantize())


def test_a_few_rows_tell_the_table_of_a_large_weight(monkeypatch):
    monkeypatch.setattr("x2v_quant.formats.w4a8_fit.SAMPLED", 512 * 4)
    assert torch.equal(W4A8Layout.quantize(weight(64, 512))[1].codebook, lloyd_max.gaussian(torch.device("cpu")))


@every_rotation
def test_a_changed_weight_keeps_table_and_rotation_and_is_rounded_by_the_seed(rotation):
    table = torch.linspace(-1, 1, 16)
    stored = FORMATS[name_of(rotation)].quantize(weight(8, 512), torch.bfloat16, codebook_tensor=table)
    changed = weight(8, 512, seed=1)
    again = requantized(stored, changed, scale="recalculate", stochastic_rounding=7, inplace_ops=True)
    assert format_of(again).name == name_of(rotation)
    assert torch.equal(again._params.codebook, table)
    assert decibels(changed, again.dequantize()) > 15
    assert torch.equal(requantized(stored, changed, stochastic_rounding=7)._qdata, again._qdata)
    assert not torch.equal(requantized(stored, changed, stochastic_rounding=8)._qdata, again._qdata)


def test_stochastic_rounding_is_unbiased():
    w = weight(16, 256)
    options = [{"stochastic_rounding": seed} for seed in range(1, 101)]
    mean = sum(FORMATS[NAME].quantize(w, torch.float32, **one).dequantize() for one in options) / len(options)
    # what lies beyond a group's outermost level stays there
    assert (mean - w).norm() < 0.35 * (FORMATS[NAME].quantize(w, torch.float32).dequantize() - w).norm()


@pytest.mark.parametrize("columns,rotation", [(5120, 256), (13824, 256), (320, 64), (48, 16), (4096, 256)])
def test_a_layer_gets_the_widest_rotation_that_divides_it_up_to_cores_default(columns, rotation):
    assert fitting(NAME, (8, columns)) == name_of(rotation)
    assert FORMATS[name_of(rotation)].quantize(weight(2, columns), torch.float32).shape == (2, columns)


def test_a_width_that_has_no_whole_groups_is_refused():
    assert "in_features has to be a multiple of 16, not 24" in why_not(NAME, (8, 24))
    with pytest.raises(ValueError, match="w4a8 wants in_features to be a multiple of 256, this layer has 128"):
        W4A8Layout.quantize(torch.zeros(4, 128))


@every_rotation
def test_it_becomes_int8_of_the_same_values(rotation):
    """At load, for a scheme of int8-convrot: as fast as int8, and as large."""
    wanted = ROTATIONS["int8-convrot"].get(rotation)
    if wanted is None:
        pytest.skip("this comfy-kitchen rotates no int8 weights (ComfyUI 0.27's and newer do)")
    stored = FORMATS[name_of(rotation)].quantize(weight(24, 512), torch.float32)
    assert serves(name_of(rotation), "int8-convrot")
    assert fitting(like(name_of(rotation), "int8-convrot"), (24, 512)) == wanted
    spread = convert(stored, wanted)
    assert format_of(spread).name == wanted
    assert added_error(stored, spread) < 1e-6
    tensors = parts(stored)
    assert torch.equal(spread._qdata, levels(tensors["codes"], tensors["scale"], tensors["codebook"]))


def test_every_rotation_is_served_by_the_same_schemes_and_stays_what_it_is():
    for name in ROTATIONS[NAME].values():
        assert serves(name, NAME)
        assert original(name) == name
    assert not serves("int8-convrot", NAME)


def test_four_bits_of_a_layer_with_outlier_channels_keep_22_decibels():
    """K 5120, 1 % of the channels x 20 to 50, activations of 8 bits."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn((256, 5120), generator=generator), torch.randn((512, 5120), generator=generator)
    channels = torch.randperm(5120, generator=generator)[:51]
    x[:, channels] *= torch.linspace(20, 50, 51)
    stored = FORMATS[NAME].quantize(w, torch.float32)
    output = SIMULATED[FORMATS[NAME].activation](x, {}) @ stored.dequantize().t()
    assert decibels(x @ w.t(), output) > 22
    bits = 8 * sum(part.nbytes for name, part in parts(stored).items() if name != "codebook") / w.numel()
    assert bits < 4.51


@pytest.mark.parametrize("largest", [0.01, 0.2, 0.28])
def test_a_table_of_small_levels_gives_scales_that_are_numbers(largest):
    """127 / 448 is the smallest whose largest level comes to 127; below it a scale must not overflow float8."""
    w = torch.randn((4, 256), generator=torch.Generator().manual_seed(0))
    codebook = torch.linspace(-largest, largest, 16)
    codes, params = W4A8Layout.quantize(w, codebook_tensor=codebook)
    assert bool(params.scale.float().isfinite().all())
    weight = W4A8Layout.dequantize(codes, params)
    assert (weight - w).norm() < (0.4 if largest < 0.1 else 0.2) * w.norm()
