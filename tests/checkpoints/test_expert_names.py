"""The experts of Wan 2.2 are told apart by their names."""

import pytest

from x2v_quant.checkpoints.expert_names import counterpart, expert_of


@pytest.mark.parametrize(
    ("path", "expert", "other"),
    [
        (
            "wan2.2_i2v_A14b_high_noise_int8_lightx2v_4step.safetensors",
            "high",
            "wan2.2_i2v_A14b_low_noise_int8_lightx2v_4step.safetensors",
        ),
        ("Wan2_2-T2V-A14B-LOW_fp8.safetensors", "low", "Wan2_2-T2V-A14B-HIGH_fp8.safetensors"),
        ("HighNoise-Q8.safetensors", "high", "LowNoise-Q8.safetensors"),
        ("Wan/high_noise_model/", "high", "Wan/low_noise_model/"),
        ("Wan\\high_noise_model\\distill_model.safetensors", "high", "Wan\\low_noise_model\\distill_model.safetensors"),
        ("high_noise_model/wan_high.safetensors", "high", "low_noise_model/wan_low.safetensors"),
        ("wan2.1_t2v_14b_int8.safetensors", None, None),
        ("slow_highway.safetensors", None, None),
    ],
)
def test_names(path, expert, other):
    assert expert_of(path) == expert
    assert counterpart(path) == other
    if other is not None:
        assert counterpart(other) == path


def test_a_name_with_both_tells_nothing():
    assert expert_of("wan_high_and_low_noise.safetensors") is None
    assert expert_of("high_noise_model/wan_high_low.safetensors") is None


def test_the_nearest_part_of_the_path_counts():
    assert expert_of("low_vram_models/wan_high_noise.safetensors") == "high"
