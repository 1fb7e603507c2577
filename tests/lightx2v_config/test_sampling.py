"""LightX2V's schedules, against its own way to compute them and against what core's samplers then do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.lightx2v_config.sampling import is_simple, sampling_lines, switch_step
from x2v_quant.lightx2v_config.sigmas import distilled, shifted

FOUR = [1000, 750, 500, 250]
DISTILLED = {"denoising_step_list": FOUR, "sample_shift": 5, "infer_steps": 40, "boundary_step_index": 2}


@pytest.mark.parametrize("shift", [1.0, 5.0, 16.0])
@pytest.mark.parametrize("steps", [FOUR, [1000], [1000, 500]])
def test_cores_simple_scheduler_takes_the_same_sigmas(shift, steps):
    import comfy.model_sampling
    import comfy.samplers

    sampling = comfy.model_sampling.ModelSamplingDiscreteFlow()
    sampling.set_parameters(shift=shift)
    assert is_simple(steps)
    core = comfy.samplers.calculate_sigmas(sampling, "simple", len(steps))
    assert core.tolist() == pytest.approx(distilled(steps, shift).tolist(), abs=1e-6)


def test_other_steps_are_not_simple():
    assert not is_simple([1000, 900, 500, 250])


@given(st.integers(1, 60), st.floats(1, 20), st.floats(0.5, 0.99))
def test_the_switch_is_where_sigma_crosses_the_boundary(steps, shift, boundary):
    from x2v_quant.lightx2v_config import Config

    switch = switch_step(Config("run.json", {"boundary": boundary}), steps, shift)
    sigmas = [shifted(1 - step / steps, shift) for step in range(steps)]
    assert all(sigma >= boundary for sigma in sigmas[:switch])
    assert all(sigma < boundary for sigma in sigmas[switch:])


def test_distilled_experts(config):
    text = "\n".join(sampling_lines(config(**DISTILLED, sample_guide_scale=[4.0, 3.0]), True))
    assert "shift 5" in text
    assert "steps 4, sampler_name euler, scheduler simple, cfg 1" in text
    assert "1, 0.9375, 0.83333333, 0.625, 0" in text
    assert "end_at_step 2" in text
    assert "start_at_step 2, end_at_step 4" in text


def test_guidance_is_by_expert_and_only_if_it_is_on(config):
    values = {"infer_steps": 40, "sample_shift": 12, "sample_guide_scale": [4.0, 3.0], "boundary": 0.875}
    on = "\n".join(sampling_lines(config(**values, enable_cfg=True), True))
    assert "cfg 4 for the high-noise MODEL, 3 for the low-noise one" in on
    assert "cfg 1" in "\n".join(sampling_lines(config(**values, enable_cfg=False), True))
    # 12 s / (1 + 11 s) >= 0.875 for s >= 0.368, that is 26 of 40 steps: 1, 0.975, ..., 0.375
    assert "end_at_step 26" in on


def test_a_schedule_that_simple_has_not_is_a_node_of_its_own(config):
    text = "\n".join(sampling_lines(config(denoising_step_list=[1000, 900, 500], sample_shift=5), False))
    assert (
        "Distilled Sigmas (step list 1000, 900, 500; shift 5) with SamplerCustomAdvanced and euler, instead "
        "of a scheduler: 1, 0.97826087, 0.83333333, 0" in text
    )
    assert "scheduler simple" not in text
    assert "low-noise" not in text
