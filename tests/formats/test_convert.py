"""Conversions: exact within a family, through float32 between formats that hold different numbers."""

import itertools

import pytest
import torch

from x2v_quant.formats import FORMATS, SMOOTHED, family, format_of, like, repackings
from x2v_quant.formats.convert import REPACKINGS, added_error, convert, repacking, serves

# the other sizes of groups are as these, and are converted to them
USUAL = [name for name, row in FORMATS.items() if row.rotation in (0, 256)]
PAIRS = [(a, b) for a, b in itertools.permutations(FORMATS, 2) if {a, b} <= {*USUAL} or family(a) == family(b)]


def weight(rows=128, columns=256, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((rows, columns), generator=generator) * torch.logspace(-2, 1, rows).view(-1, 1)


def test_every_pair_that_holds_the_same_numbers_is_repacked():
    assert [(a, b) for a, b in PAIRS if b in repackings(a) and repacking(a, b) is None] == []
    assert all(family(name) in FORMATS for name in FORMATS)


@pytest.mark.parametrize("source,target", PAIRS)
def test_conversion_gives_the_target_and_costs_no_more_than_quantizing(source, target):
    w = weight(columns=max(256, *(FORMATS[name].settings.get("convrot_groupsize", 0) for name in (source, target))))
    before = FORMATS[source].quantize(w, torch.bfloat16)
    after = convert(before, target)
    assert format_of(after) is FORMATS[target]
    assert (after.dtype, tuple(after.shape)) == (torch.bfloat16, tuple(w.shape))
    fresh = added_error(before, FORMATS[target].quantize(before.to(dtype=torch.float32).dequantize(), torch.bfloat16))
    assert added_error(before, after) <= fresh + 1e-5


@pytest.mark.parametrize("source,target", [pair for pair in REPACKINGS if not pair[1].startswith("fp8-reduced")])
def test_repacking_changes_no_value(source, target):
    before = FORMATS[source].quantize(weight(), torch.float32)
    assert torch.equal(convert(before, target).dequantize(), before.dequantize())


# the others: codes up to 448 lose their smallest steps, one scale for all is written out for every row
RETURN = [("fp8-reduced", "fp8-channel"), ("fp8-channel", "fp8-tensor"), ("int4-g128", "int4-g128-marlin")]


@pytest.mark.parametrize("source,target", [*RETURN, ("int4-g128-marlin", "int4-g128")])
def test_there_and_back_is_the_same_bytes(source, target):
    before = FORMATS[source].quantize(weight(), torch.float32)
    after = convert(convert(before, target), source)
    for one, other in zip(*(FORMATS[source].parts(t._qdata, t._params) for t in (before, after)), strict=True):
        assert torch.equal(one.view(torch.uint8), other.view(torch.uint8))


class TestReduced:
    def test_only_codes_that_become_subnormal_change_and_they_round_to_even(self):
        before = FORMATS["fp8-channel"].quantize(weight(), torch.float32)
        after = convert(before, "fp8-reduced")
        codes, reduced = before._qdata.float(), after._qdata.float()
        assert reduced.abs().max() == 28
        assert torch.equal(after._params.scale, before._params.scale * 16)
        steps = codes / 16 / 2.0**-9
        small = codes.abs() / 16 < 2.0**-6
        assert torch.equal(reduced[~small], codes[~small] / 16)
        assert torch.equal(reduced[small], steps[small].round() * 2.0**-9)
        assert 0 < added_error(before, after) < 1e-4

    @pytest.mark.parametrize("largest,factor", [(448.0, 16), (240.0, 16), (224.0, 8), (30.0, 2), (28.0, 1), (2.0, 1)])
    def test_a_row_is_divided_by_no_more_than_it_must(self, largest, factor):
        before = FORMATS["fp8-channel"].quantize(weight(4), torch.float32)
        before._qdata.copy_(before._qdata.float().clamp(-largest, largest).to(torch.float8_e4m3fn))
        before._qdata[:, 0] = torch.tensor(largest, dtype=torch.float8_e4m3fn)
        after = convert(before, "fp8-reduced")
        assert torch.equal(after._params.scale, before._params.scale * factor)
        assert after._qdata.float().abs().max() <= 28
        if factor == 1:
            assert torch.equal(after._qdata.view(torch.uint8), before._qdata.view(torch.uint8))


def test_a_channel_weight_becomes_a_tensor_weight_without_input_scale():
    after = convert(FORMATS["fp8-channel"].quantize(weight(), torch.float32), "fp8-tensor")
    assert after._params.scale.shape == (128, 1)
    assert after._params.input_scale.shape == (0,)


def test_converting_to_itself_is_nothing():
    before = FORMATS["int8-channel"].quantize(weight(), torch.float32)
    assert convert(before, "int8-channel") is before


class TestSmoothed:
    FACTOR = torch.logspace(-2, 0, 4096)

    def held(self, name):
        return FORMATS[name].quantize(weight(columns=4096), torch.float32, pre_quant_scale=self.FACTOR)

    @pytest.mark.parametrize("source,target", list(itertools.permutations(SMOOTHED.values(), 2)))
    def test_a_smoothed_format_keeps_its_factors(self, source, target):
        before = self.held(source)
        after = convert(before, target)
        assert torch.equal(after._params.pre_quant_scale, self.FACTOR)
        fresh = FORMATS[target].quantize(before.dequantize(), torch.float32, pre_quant_scale=self.FACTOR)
        assert added_error(before, after) <= added_error(before, fresh) + 1e-4

    @pytest.mark.parametrize("source", SMOOTHED.values())
    def test_any_other_format_gets_the_weight_itself(self, source):
        """Not that of the smoothed layer: its activations are not multiplied by the factors."""
        for target in set(FORMATS) - set(SMOOTHED.values()):
            before = self.held(source)
            fresh = FORMATS[target].quantize(before.dequantize(), torch.float32)
            assert torch.equal(convert(before, target).dequantize(), fresh.dequantize())

    def test_it_is_no_repacking_of_the_plain_one(self):
        """A kernel that cannot smooth never gets a smoothed weight."""
        assert repackings("fp8-channel") == ["fp8-channel", "fp8-reduced"]
        assert repackings("fp8-reduced-smooth") == ["fp8-reduced-smooth", "fp8-channel-smooth"]
        assert repackings("int8-channel-smooth") == ["int8-channel-smooth"]

    @pytest.mark.parametrize(
        "held,wanted,expected",
        [
            ("fp8-channel-smooth", "int8-channel", "int8-channel-smooth"),
            ("fp8-channel", "int8-channel", "int8-channel"),
            ("fp8-channel-smooth", "nvfp4", "nvfp4"),
            ("mxfp6", "int8-channel", "int8-channel"),
        ],
    )
    def test_what_is_asked_for_is_smoothed_if_what_is_held_is(self, held, wanted, expected):
        assert like(held, wanted) == expected

    @pytest.mark.parametrize("plain,smooth", SMOOTHED.items())
    def test_a_scheme_serves_both(self, plain, smooth):
        assert serves(smooth, family(plain))
        assert family(smooth) == family(plain)
