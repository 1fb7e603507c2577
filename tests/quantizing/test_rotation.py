"""The format that Quantize Model's `rotation` makes of the one that was chosen."""

import pytest

from x2v_quant.core.features import rotates_int8
from x2v_quant.quantizing import QuantizeError
from x2v_quant.quantizing.rotation import CHOICES, with_rotation

INT8, ROTATED, FP8 = "int8-channel", "int8-convrot", "fp8-channel"


@pytest.mark.parametrize(
    "format_name,rotation,expected",
    [(INT8, "auto", INT8), (ROTATED, "auto", ROTATED), (FP8, "auto", FP8), (INT8, "none", INT8), (FP8, "none", FP8)]
    + [(ROTATED, "none", INT8), (INT8, "convrot", ROTATED), (ROTATED, "convrot", ROTATED)] * rotates_int8(),
)
def test_twins(format_name, rotation, expected):
    assert rotation in CHOICES
    assert with_rotation(format_name, rotation) == expected


@pytest.mark.skipif(not rotates_int8(), reason="this ComfyUI has no rotated int8")
def test_a_format_that_the_machine_chose_is_left_for_one_that_can_be_rotated():
    assert with_rotation(FP8, "convrot", chosen=False) == ROTATED


def test_others_are_refused():
    with pytest.raises(QuantizeError, match="fp8-channel cannot be rotated, only int8-channel and int4-g128 can"):
        with_rotation(FP8, "convrot")


@pytest.mark.skipif(rotates_int8(), reason="this ComfyUI has rotated int8")
def test_an_older_comfyui_is_said_to_lack_it():
    with pytest.raises(QuantizeError, match=r"no rotated int8 weights. Update it to 0.27"):
        with_rotation(INT8, "convrot")
