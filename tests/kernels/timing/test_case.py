"""The arithmetic of a case."""

import pytest

from x2v_quant.kernels.timing.case import Case


@pytest.mark.parametrize(
    "unit,ours,theirs,target,ratio,met",
    [
        ("ms", 10, 25, 2.0, 2.5, True),
        ("ms", 10, 15, 2.0, 1.5, False),
        ("s", 1, 1, None, 1.0, None),
        ("MB/s", 30, 20, 1.2, 1.5, True),
        ("MB/s", 20, 30, 1.2, 0.6667, False),
        ("MB", 105, 100, 1.1, 1.05, True),
        ("MB", 120, 100, 1.1, 1.2, False),
        ("ms", 10, None, 2.0, None, None),
    ],
)
def test_ratio_and_promise(unit, ours, theirs, target, ratio, met):
    case = Case("what vs peer", ours, theirs, unit, target)
    assert case.ratio == pytest.approx(ratio, abs=1e-4)
    assert case.met is met
    assert case.as_dict()["ratio"] == pytest.approx(ratio, abs=1e-4)
