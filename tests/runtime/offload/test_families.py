"""Blocks of other families than Wan stream as well."""

import functools

import pytest
import torch
from family_files import FAMILIES, run, tell_sizes, tensors_of, write
from older_comfyui import in_core

from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import streamed_blocks
from x2v_quant.runtime.offload.wrappers import Streaming
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
# parts that this step of a model has no use for: LTX-2's text comes in finished
UNUSED = {
    "ltx-2": {
        f"{kind}_embeddings_connector.transformer_1d_blocks.{index}" for kind in ("audio", "video") for index in (0, 1)
    }
}


class Step:
    """What core calls a model through."""

    def __init__(self, name, model):
        self._name, self._model, self.class_obj = name, model, model.model

    def __call__(self, x):
        return run(self._name, self._model)


@pytest.mark.parametrize("mode", ["block", "phase"])
@pytest.mark.parametrize("name", in_core(FAMILIES))
def test_a_step_is_the_same_bit_for_bit(name, mode, tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    write(path, name, "int8", tensors_of(name))
    tell_sizes(name, monkeypatch)
    step = Step(name, load_dit(str(path), SchemeChoice(compute_dtype="fp32")))
    on_cpu = torch.zeros(1)
    expected = step(on_cpu)
    settings = OffloadSettings(mode)
    streaming = Streaming(settings, functools.partial(streamed_blocks, settings), lambda parameter, device: True)
    for _ in range(2):
        assert torch.equal(streaming(step, on_cpu), expected)
    ((streamer, _),) = streaming._streamers.values()
    # what runs is what was brought: every layer of a part is called inside of it
    parts = streamed_blocks(settings, step.class_obj.diffusion_model)
    assert set(streamer.names) == {part.name for part in parts} - UNUSED.get(name, set())
    assert torch.equal(step(on_cpu), expected)
