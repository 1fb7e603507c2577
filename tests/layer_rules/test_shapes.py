"""What a format cannot hold, against the formats themselves."""

import pytest
import torch
from comfy_kitchen.tensor import get_layout_class

from x2v_quant.formats import FORMATS, ROTATIONS, fitting
from x2v_quant.layer_rules.shapes import why_not

ODD = (33, 35)


@pytest.mark.parametrize("name", ["fp8-channel", "int8-channel", "fp8-block128", "fp8-tensor"])
def test_these_hold_every_shape(name):
    assert why_not(name, ODD) is None
    weight = FORMATS[name].quantize(torch.randn(ODD), torch.float32)
    assert weight.dequantize().shape == ODD


def test_int4_needs_pairs():
    assert why_not("int4-g128", (33, 34)) is None
    FORMATS["int4-g128"].quantize(torch.randn(33, 34), torch.float32)
    assert "in_features has to be a multiple of 2, not 35" in why_not("int4-g128", ODD)
    with pytest.raises(ValueError, match="even"):
        FORMATS["int4-g128"].quantize(torch.randn(ODD), torch.float32)


@pytest.mark.parametrize("name", ["mxfp8", "nvfp4"])
@pytest.mark.parametrize("extra", [(0, 0), (1, 0), (0, 1), (8, 8)], ids=str)
def test_tensor_core_formats_are_held_back_exactly_where_they_would_be_padded(name, extra):
    rows, columns = FORMATS[name].multiples
    shape = (2 * rows + extra[0], 2 * columns + extra[1])
    padded = get_layout_class(f"TensorCore{name.upper()}Layout").get_padded_shape(shape) != shape
    assert padded == (extra != (0, 0))
    assert (why_not(name, shape) is not None) == padded


WIDTHS = range(1, 601)
# of those that are quantized as well: all narrow ones, and some on both sides of every group
QUANTIZED = sorted({*range(1, 36), *(width + off for width in (64, 96, 128, 192, 256, 384, 512) for off in (-1, 0, 1))})


@pytest.mark.parametrize("name", FORMATS)
def test_every_width_is_fitted_or_refused_in_a_sentence(name):
    for columns in WIDTHS:
        shape = FORMATS[name].multiples[0] * 2, columns
        chosen, why = fitting(name, shape), why_not(name, shape)
        assert FORMATS[chosen].family == FORMATS[name].family
        assert (why is None) == FORMATS[name].fits(shape)
        assert why is None or (why.startswith(f"cannot be {name}, for which ") and str(columns) in why)
        if name in ROTATIONS and why is None:
            assert columns % FORMATS[chosen].rotation == 0
        if why is None and columns in QUANTIZED and columns % max(FORMATS[chosen].rotation, 1) == 0:
            assert tuple(FORMATS[chosen].quantize(torch.ones(shape), torch.float32).shape) == shape
