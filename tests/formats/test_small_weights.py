"""Weights that are small as a whole, or in a row, are stored as exactly as any others."""

import pytest
import torch
from distance import decibels

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, round_weight

NAMES = [name for name, row in FORMATS.items() if not row.smooth and row.rotation <= 256]
# about 1e-8; a power of two, as scales of some formats are
SMALL = 2.0**-27
# rows have a scale in common: one that is much smaller than its neighbours may become zero
SHARED_BY_ROWS = {"fp8-tensor", "fp8-block128", "nvfp4"}
# comfy-kitchen takes scales below 1e-8 for those of zeros, and w4a8 has its bytes
LIMITED = {name for name in NAMES if FORMATS[name].family == "w4a8"}
ROW = 3


def weight():
    values = torch.randn((128, 512), generator=torch.Generator().manual_seed(0)) * 0.02
    values[7] = 0
    return values


def stored(name, values, method):
    row = FORMATS[name]
    if method is None:
        return row.quantize(values.clone(), torch.float32).dequantize()
    return row.wrap(round_weight(values, name, METHODS[method]), torch.float32, tuple(values.shape)).dequantize()


@pytest.mark.parametrize("method", [None, "nearest", "mse"])
@pytest.mark.parametrize("name", NAMES)
def test_a_small_weight_is_as_exact(name, method):
    usual = decibels(weight(), stored(name, weight(), method))
    small = stored(name, weight() * SMALL, method)
    assert small.isfinite().all()
    assert not small[7].any()
    if name not in LIMITED:
        assert decibels(weight(), small / SMALL) == pytest.approx(usual, abs=0.01)


@pytest.mark.parametrize("method", [None, "nearest", "mse"])
@pytest.mark.parametrize("name", NAMES)
def test_a_small_row_is_as_exact(name, method):
    values = weight()
    usual = decibels(values[ROW], stored(name, values, method)[ROW])
    values[ROW] *= SMALL
    small = stored(name, values, method)
    assert small.isfinite().all()
    if name not in SHARED_BY_ROWS | LIMITED:
        assert decibels(values[ROW], small[ROW]) == pytest.approx(usual, abs=0.01)
