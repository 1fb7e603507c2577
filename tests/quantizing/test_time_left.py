"""What the time left is reckoned from: the layers that are rounded, as they are."""

import time

import pytest
import torch

from x2v_quant.calibration import Calibration
from x2v_quant.quantizing import Rounder
from x2v_quant.quantizing.time_left import TimeLeft
from x2v_quant.rounding.estimate import Work

CPU = torch.device("cpu")
SHAPE = (64, 256)


def test_layers_that_keep_their_codes_take_no_time():
    """However many there are, before the others or between them."""
    rounded = Work(SHAPE, None)
    left = TimeLeft([*[None] * 8, rounded, None, rounded], CPU)
    assert left.after(8) is None
    time.sleep(0.1)
    assert left.after(9) == pytest.approx(left.after(10), rel=0.2) and 0.1 <= left.after(9) < 10
    assert left.after(11) == 0


def test_only_kept_layers_are_no_work():
    assert TimeLeft([None, None], CPU).after(1) is None


@pytest.mark.parametrize("format_name,like", [("int4-g128-marlin", "int4-g128"), ("fp8-reduced", "fp8-channel")])
def test_what_is_repacked_is_rounded_before(format_name, like):
    x = torch.randn(100, SHAPE[1]).to(torch.bfloat16)
    seen = Calibration({"a": x.float().abs().amax(dim=0)}, inputs={"a": x})
    work = Rounder(None, seen).work("a", SHAPE, format_name)
    assert work == Rounder(None, seen).work("a", SHAPE, like)
    assert work.grid is not None and work.tokens == 100
