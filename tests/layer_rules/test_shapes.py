"""What a format cannot hold, against the formats themselves."""

import pytest
import torch

from x2v_quant.formats import FORMATS
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
    padded = FORMATS[name].layout.get_padded_shape(shape) != shape
    assert padded == (extra != (0, 0))
    assert (why_not(name, shape) is not None) == padded
