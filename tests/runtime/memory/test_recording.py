"""How much RAM a calibration's tokens take: what is said before, and what they really take."""

import gc
import weakref

import comfy.model_management
import pytest
import small_wan
import torch

from x2v_quant.calibration import sample
from x2v_quant.calibration.recorder import calibrated
from x2v_quant.calibration.sample import Rows
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
    assert planned.about == (
        "Records up to 2048 tokens for each of 406 layers: up to 9.25 GB of RAM, 18.5 GB in a second run, 64.0 GB are "
        "free."
    )


def test_what_does_not_fit_is_cut_and_said(free):
    free(4 * GB)
    planned = planned_recording(wan_14b(), 8192)
    assert 300 < planned.tokens < 400
    assert 2 * sample.SLACK * planned.tokens * planned.channels * 2 <= 0.8 * 4 * GB
    assert planned.about == (
        f"Records only up to {planned.tokens} tokens for each of 406 layers, because 8192 would take up to 37.0 GB of "
        "RAM, 74.0 GB in a second run, and 4.00 GB are free. Close other programs, or set tokens per layer to what "
        "fits."
    )


def test_none_are_asked_for(free):
    free(0)
    planned = PlannedRecording(3, 100, 0, 0)
    assert planned.tokens == 0
    assert planned.about == "Records the largest values of 3 layers, and no tokens: enough for smoothing."


@pytest.fixture
def rows(monkeypatch):
    """All memory for rows that is there, in the samples of layers or only referred to by something else."""
    every = weakref.WeakSet()

    class Watched(Rows):
        def __init__(self, *args):
            super().__init__(*args)
            every.add(self)

    monkeypatch.setattr(sample, "Rows", Watched)
    return every


@pytest.mark.usefixtures("inference")
def test_it_takes_no_more_than_said(load, rows):
    """In the middle of every call too, when layers have new rows."""
    tokens = 16
    model = load()
    planned = planned_recording(model.model.diffusion_model, tokens)
    clone, calibration = calibrated(model, tokens)
    sizes = []

    def measure(*_):
        sizes.append(sum(each.tensor.nbytes for each in rows))

    hook = model.model.diffusion_model.head.register_forward_pre_hook(measure)
    small_wan.sample(clone, steps=12)
    first = max(sizes)
    small_wan.sample(clone, seed=1, steps=12)
    hook.remove()
    allowed = sample.SLACK * tokens * planned.channels * 2
    assert len(calibration.inputs_of("blocks.0.ffn.0")) == tokens
    assert 0.4 * allowed < first <= allowed
    # what was recorded before, for a run that fails, and what is recorded now
    assert allowed < max(sizes) <= 2 * allowed


@pytest.mark.usefixtures("inference")
def test_memory_goes_with_the_calibration(load, rows):
    clone, calibration = calibrated(load(), 16)
    small_wan.sample(clone)
    assert sum(each.tensor.nbytes for each in rows) > 0
    del clone, calibration
    gc.collect()
    assert not rows
