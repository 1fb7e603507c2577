"""Names of layers in few words, which stand for these and no others."""

import pytest

from x2v_quant.rounding.layer_names import shortened, stands_for

NAMES = [
    *(f"blocks.{number}.attn.{end}" for number in (0, 1, 2, 5, 11) for end in ("q", "to_out.0")),
    *(f"single.{number}.linear1" for number in (1, 3)),
    "head",
    "0.weight",
]
SHORT = [
    "0.weight",
    "blocks.0-2,5,11.attn.q",
    "blocks.0-2,5,11.attn.to_out.0",
    "head",
    "single.1,3.linear1",
]


def test_blocks_are_one():
    assert shortened(NAMES) == shortened(reversed(NAMES)) == SHORT
    assert shortened([]) == []


def test_a_short_name_stands_for_those_that_it_is_made_of():
    others = ["blocks.3.attn.q", "blocks.1.attn.k", "blocks.12.attn.q", "x.blocks.1.attn.q", "single.2.linear1", "hea"]
    for name in [*NAMES, *others]:
        assert sum(stands_for(short, name) for short in SHORT) == (name in NAMES), name


@pytest.mark.parametrize(
    "short", ["", ".", "blocks.*.attn.q", "blocks.0-.attn.q", "blocks.-1.attn.q", "blocks..attn.q"]
)
def test_what_is_no_short_name_stands_for_nothing(short):
    assert not any(stands_for(short, name) for name in NAMES)
