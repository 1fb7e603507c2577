"""Conversions that round by inputs, interrupted: they go on to the same bytes, or begin again."""

import pytest
import torch
from older_comfyui import core_rotates_int8
from rounded_files import calibration_of

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import X2V
from x2v_quant.converting import fingerprint as fingerprints
from x2v_quant.converting.convert import convert
from x2v_quant.converting.job import Job
from x2v_quant.converting.options import Options
from x2v_quant.converting.source import Source


class Stop:
    """A progress callback that interrupts after so many units."""

    def __init__(self, after):
        self.left = after

    def __call__(self, done, total):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_bytes(source, tmp_path, calibration, converted):
    asked = {"format": "int4-g128", "dialect": X2V, "calibration": calibration}
    expected = converted(source, "expected.safetensors", **asked)
    target = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Options(**asked), Stop(40))
    convert(source, target, Options(resume=True, **asked))
    assert target.read_bytes() == expected.read_bytes()


def other_tokens(tensors):
    """A calibration with the same statistics, and other values in one layer's tokens."""
    seen = calibration_of(tensors)
    layer = "blocks.1.ffn.2"
    seen.inputs[layer] = seen.inputs[layer].flip(1)
    return seen


def other_calls(tensors):
    seen = calibration_of(tensors)
    seen.calls = 3
    return seen


@pytest.mark.parametrize("change", ["calls", "tokens", "rounding", pytest.param("rotation", marks=core_rotates_int8)])
def test_another_way_of_rounding_is_another_run(change, source, tensors, tmp_path, calibration, converted):
    first = {"format": "int8-channel", "dialect": X2V, "rounding": "gptq", "calibration": calibration}
    second = {
        "calls": {**first, "calibration": other_calls(tensors)},
        "tokens": {**first, "calibration": other_tokens(tensors)},
        "rounding": {**first, "rounding": "nearest"},
        "rotation": {**first, "rotation": "64"},
    }[change]
    target = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Options(**first), Stop(40))
    convert(source, target, Options(resume=True, **second))
    assert target.read_bytes() == converted(source, "expected.safetensors", **second).read_bytes()


def test_a_run_on_another_device_is_another_run(source, tmp_path, calibration, monkeypatch):
    asked = Options("int8-channel", X2V, calibration=calibration)
    checkpoint, journals = open_checkpoint(source), []
    with Source(checkpoint) as opened:
        job = Job(opened, asked)
        job.measure()
        for device in ("cpu", "cpu", "xpu"):
            monkeypatch.setattr(fingerprints, "default_device", lambda device=device: torch.device(device))
            journals.append(fingerprints.fingerprint(checkpoint, job.units(), job, asked))
    assert journals[0] == journals[1] != journals[2]
