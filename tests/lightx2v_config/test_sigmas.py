"""Distilled Sigmas against LightX2V's own arithmetic, and against what core's scheduler gives."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.lightx2v_config.sigmas import SigmasError, distilled, parse_steps, split

FOUR = [1000, 750, 500, 250]


def lightx2v(steps, shift):
    """LightX2V's scheduler in the order in which it computes, in float32: levels from 1 down without the 0, shifted,
    then picked."""
    levels = torch.linspace(1.0, 0.0, 1001)[:-1]
    levels = shift * levels / (1 + (shift - 1) * levels)
    return levels[[1000 - step for step in steps]]


@given(st.sets(st.integers(1, 1000), min_size=1, max_size=12), st.floats(0.5, 20, allow_subnormal=False))
def test_bit_for_bit_lightx2vs(steps, shift):
    steps = sorted(steps, reverse=True)
    sigmas = distilled(steps, shift)
    assert sigmas.dtype == torch.float32
    assert torch.equal(sigmas[:-1], lightx2v(steps, shift))
    assert sigmas[-1] == 0
    assert (sigmas[:-1] > sigmas[1:]).all()


@pytest.mark.parametrize("shift", [5, 12, 16])
def test_the_models_timesteps_are_lightx2vs(shift):
    import comfy.model_sampling

    sampling = type("Sampling", (comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST), {})()
    sampling.set_parameters(shift=shift, multiplier=1000)
    assert torch.equal(sampling.timestep(distilled(FOUR, shift)[:-1]), lightx2v(FOUR, shift) * 1000)


@pytest.mark.parametrize("shift,expected", [(5, [1, 15 / 16, 5 / 6, 5 / 8, 0]), (12, [1, 36 / 37, 12 / 13, 4 / 5, 0])])
def test_the_four_steps(shift, expected):
    assert distilled(FOUR, shift).tolist() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("text", ["1000, 750, 500, 250", "[1000,750,500,250]", " 1000 750 500 250\n"])
def test_how_steps_may_be_written(text):
    assert parse_steps(text) == FOUR


@pytest.mark.parametrize("text", ["", "1001, 500", "1000, 0", "500, 750", "500, 500", "1000, half", "1000, -5", "1e3"])
def test_what_is_no_list_of_steps(text):
    with pytest.raises(SigmasError, match="falling whole numbers between 1000 and 1"):
        parse_steps(text)


@pytest.mark.parametrize("boundary", [1, 2, 4])
def test_the_experts_share_the_level_between_them(boundary):
    sigmas = distilled(FOUR, 5)
    high, low = split(sigmas, boundary)
    assert torch.equal(high, sigmas[: boundary + 1])
    assert torch.equal(torch.cat([high, low[1:]]), sigmas)


@pytest.mark.parametrize("boundary", [-1, 0, 5])
def test_a_boundary_that_is_no_step(boundary):
    with pytest.raises(
        SigmasError, match=r"from 1 to 4\. For none, connect the output sigmas to the sampler of the low-noise expert"
    ):
        split(distilled(FOUR, 5), boundary)


def test_the_node():
    from x2v_quant.nodes.distilled_sigmas import DistilledSigmas

    whole, high, low = DistilledSigmas.execute("1000, 750, 500, 250", 16.0, 2).args
    assert torch.equal(whole, distilled(FOUR, 16))
    assert (len(high), len(low)) == (3, 3)
