"""Which method a layer is rounded by: what was asked for, where it can be, and never one that does nothing."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, LayerInputs, method_for, round_weight
from x2v_quant.rounding.curvature import Curvatures
from x2v_quant.rounding.methods import MEANS, NOTHING, RECORDED, TOKENS

PLAIN = [name for name, row in FORMATS.items() if not row.smooth]


@pytest.mark.parametrize("recorded", RECORDED)
@pytest.mark.parametrize("asked", [None, *METHODS], ids=str)
@pytest.mark.parametrize("name", PLAIN)
def test_what_is_said_is_what_is_done(name, asked, recorded):
    """A search that has nothing to try is called the nearest, as it would write the same."""
    method = method_for(name, METHODS[asked] if asked else None, recorded)
    grid = FORMATS[name].grid
    assert RECORDED.index(method.needs) <= RECORDED.index(recorded)
    if method.name in ("mse", "weighted", "awq"):
        assert grid.factors
    if asked == "gptq":
        assert (method.name == "gptq") == (recorded == TOKENS and grid is not None)
    if asked in ("nearest", "mse") and grid is not None and grid.factors:
        assert method.name == asked


def test_auto_is_the_best_of_what_was_recorded():
    assert method_for("int4-g128", None, NOTHING).name == method_for("int4-g128", None, MEANS).name == "mse"
    assert method_for("int8-channel", None, NOTHING).name == method_for("nvfp4", None, NOTHING).name == "nearest"
    assert method_for("int8-channel", None, TOKENS).name == "gptq"


def test_two_factors_of_the_same_sums_have_a_curvature_each():
    """The second is the first the other way round."""
    generator = torch.Generator().manual_seed(0)
    tokens, weight = torch.randn(300, 128, generator=generator), torch.randn(16, 128, generator=generator)
    factor = torch.linspace(0.1, 2, 128)
    inputs, shared = LayerInputs(tokens, key="q"), Curvatures()
    for each in (factor, factor.flip(0)):
        made, alone = (
            round_weight(weight, "int8-channel-smooth", METHODS["gptq"], inputs, each, curvatures=kept)
            for kept in (shared, Curvatures())
        )
        assert torch.equal(made["codes"], alone["codes"])
        assert torch.equal(made["pre_quant_scale"], each)
