"""Which steps and layers a schedule means, and what it refuses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.layer_rules.errors import RuleError
from x2v_quant.runtime.sampling.schedule import PrecisionSchedule, ScheduleError, parse_layers

LAYERS = [f"blocks.{i}.{layer}" for i in range(12) for layer in ("self_attn.q", "ffn.0", "ffn.2")]


def flow(percent):
    return 1.0 - percent


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=20, unique=True),
    st.integers(0, 25),
    st.integers(0, 25),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_a_step_is_high_for_any_of_the_three_reasons(levels, first, last, part):
    sigmas = [*sorted(levels, reverse=True), 0.0]
    high = PrecisionSchedule(first, last, *part).high_steps(sigmas, flow)
    inside = [part[0] < part[1] and flow(part[1]) <= sigma <= flow(part[0]) for sigma in sigmas[:-1]]
    count = len(levels)
    expected = {*range(min(first, count)), *range(max(0, count - last), count), *(i for i in range(count) if inside[i])}
    assert {i for i, yes in enumerate(high) if yes} == expected
    assert len(high) == count


@pytest.mark.parametrize("part", [(0.0, 0.0), (0.5, 0.5), (0.8, 0.2)])
def test_an_empty_part_means_no_step(part):
    schedule = PrecisionSchedule(start=part[0], end=part[1])
    assert not schedule
    assert not any(schedule.high_steps([1.0, 0.5, 0.2, 0.0], flow))


def test_the_levels_of_core_begin_and_end_the_part():
    import comfy.model_sampling

    sampling = comfy.model_sampling.ModelSamplingDiscreteFlow()
    sampling.set_parameters(shift=8)
    sigmas = [sampling.percent_to_sigma(i / 10) for i in range(11)]
    early, late = PrecisionSchedule(start=0, end=0.3), PrecisionSchedule(start=0.7, end=1)
    assert early.high_steps(sigmas, sampling.percent_to_sigma) == (True,) * 4 + (False,) * 6
    assert late.high_steps(sigmas, sampling.percent_to_sigma) == (False,) * 7 + (True,) * 3


@pytest.mark.parametrize(
    "text,count",
    [
        ("", 0),
        ("  \n# nothing\n", 0),
        ("blocks.0", 3),
        ("blocks.0, blocks.1", 6),
        ("blocks.[0,1].ffn.*", 4),
        ("ffn.2  # the widest\nblocks.11", 14),
        ("diffusion_model.blocks.3.ffn.0.weight", 1),
    ],
)
def test_patterns(text, count):
    schedule = PrecisionSchedule(patterns=parse_layers(text))
    assert bool(schedule) == bool(count)
    assert sum(map(schedule.matches, LAYERS)) == count
    schedule.check(LAYERS)


def test_a_pattern_that_means_nothing_names_what_may_be_meant():
    with pytest.raises(ScheduleError, match=r"called 'blocks\.1\.fnn\.0'.*blocks\.1\.ffn\.0"):
        PrecisionSchedule(patterns=parse_layers("blocks.0\nblocks.1.fnn.0")).check(LAYERS)


def test_a_model_without_quantized_layers():
    with pytest.raises(ScheduleError, match="Load Quantized DiT"):
        PrecisionSchedule(first=1).check([])


def test_a_rule_of_quantize_model_is_no_pattern():
    with pytest.raises(RuleError, match="Line 1"):
        parse_layers("blocks.0 = fp8-channel")
