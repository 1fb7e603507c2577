"""How much RAM a calibration's tokens take: what is said before, and what they really take."""

import comfy.model_management
import pytest
import small_wan
import torch

from x2v_quant.calibration.recorder import calibrated
from x2v_quant.runtime.memory import recording
from x2v_quant.runtime.memory.recording import PlannedRecording, planned_recording

GB = 10**9


@pytest.fixture
def free(monkeypatch):
    """free(bytes): so much RAM is free."""
    return lambda count: monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda device: count)


def wan_14b():
    """Its widths, without weights, and its layers by ComfyUI's own classes."""
    import comfy.ldm.wan.model
    import comfy.ops

    with torch.device("meta"):
        return comfy.ldm.wan.model.WanModel(
            dim=5120, ffn_dim=13824, num_heads=40, num_layers=40, operations=comfy.ops.disable_weight_init
        )


def test_of_wan_14b(free):
    """A block: q, k, v of self-attention together, o; q, k and v together, o; two of feed-forward. With a quarter more
    for what is not dropped at once."""
    free(64 * GB)
    planned = planned_recording(wan_14b(), 2048)
    blocks = 40 * (6 * 5120 + 13824)
    assert blocks < planned.channels < 1.02 * blocks
    assert planned.tokens == 2048
    assert planned.about == "Records up to 2048 tokens for each of 406 layers: up to 9.25 GB of RAM, 64.0 GB are free."


def test_what_does_not_fit_is_cut_and_said(free):
    free(4 * GB)
    planned = planned_recording(wan_14b(), 8192)
    assert 600 < planned.tokens < 800
    assert planned.about == (
        f"Records only up to {planned.tokens} tokens for each of 406 layers, because 8192 would take up to 37.0 GB of "
        "RAM and 4.00 GB are free. Close other programs, or set tokens per layer to what fits."
    )


def test_none_are_asked_for(free):
    free(0)
    planned = PlannedRecording(3, 100, 0, 0)
    assert planned.tokens == 0
    assert planned.about == "Records the largest values of 3 layers, and no tokens: enough for smoothing."


@pytest.mark.usefixtures("inference")
def test_it_takes_no_more_than_said(load):
    """In every call: rows that the sample has no longer are counted too."""
    tokens = 16
    model = load()
    planned = planned_recording(model.model.diffusion_model, tokens)
    clone, calibration = calibrated(model, tokens)
    most = []

    def measure(*_):
        most.append(sum(each.nbytes for each in set(calibration.inputs.values())))

    for seed in range(3):
        small_wan.sample(clone, seed=seed, steps=4, callback=measure)
    allowed = recording.SLACK * tokens * planned.channels * 2
    assert 0.4 * allowed < max(most) <= allowed
