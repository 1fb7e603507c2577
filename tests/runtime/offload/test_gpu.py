"""Offloading on a real GPU, with dynamic VRAM and without."""

import gc

import pytest
import torch

from x2v_quant.benchmarks.offloading import held
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import offloaded
from x2v_quant.runtime.offload.blocks import Block
from x2v_quant.runtime.offload.copy_stream import copy_stream
from x2v_quant.runtime.offload.streaming import Streamer

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("inference")]
MODES = ("model", "block", "phase", "disk")


@pytest.fixture(params=[True, False], ids=["dynamic", "classic"])
def on_gpu(request, model):
    """on_gpu(kind) -> MODEL with or without dynamic VRAM"""

    def make(kind="int8"):
        made = model(kind)
        if made.is_dynamic() and not request.param:
            made = made.clone(disable_dynamic=True)
        if made.is_dynamic() != request.param:
            pytest.skip("dynamic VRAM is switched off on this machine")
        return made

    return make


@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [None, 0.3, 0.7])
def test_latents_are_the_same_bit_for_bit(kind, mode, share, on_gpu, sample):
    original = on_gpu(kind)
    expected = sample(original)
    budget = None if share is None else original.model_size() * share / 1e9
    assert torch.equal(sample(offloaded(original, OffloadSettings(mode, budget_gb=budget))), expected)
    assert torch.equal(sample(original), expected)


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize("from_file", [False, True])
def test_a_stream_of_its_own_never_overtakes_what_computes(pinned, ahead, from_file):
    """Blocks so large that a copy takes longer than a block, and the other way round."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    sizes = [256, 4096, 512, 4096, 2048, 256]
    layers = [torch.nn.Linear(size, size, bias=False).to(torch.float16).requires_grad_(False) for size in sizes]
    inputs = [torch.randn(64, size, device=device, dtype=torch.float16) for size in sizes]
    expected = [x @ layer.weight.to(device).t() for x, layer in zip(inputs, layers, strict=True)]
    blocks = [Block(str(number), layer) for number, layer in enumerate(layers)]
    streamer = Streamer(blocks, copy_stream(device), lambda p: p.device != device, ahead, pinned, from_file)
    for _ in range(20):
        streamer.begin()
        found = []
        for block, x in zip(blocks, inputs, strict=True):
            streamer.enter(block.name)
            found.append(block.module(x))
        streamer.end()
    torch.cuda.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    streamer.close()


@pytest.mark.parametrize("mode", ["block", "disk"])
def test_two_models_in_turns_leave_nothing_on_the_device(mode, on_gpu, sample):
    import comfy.model_management

    models = [offloaded(on_gpu(kind), OffloadSettings(mode)) for kind in ("int8", "fp8")]
    held = []
    for number in range(50):
        sample(models[number % 2], steps=1)
        if number % 10 == 9:
            comfy.model_management.unload_all_models()
            gc.collect()
            torch.cuda.empty_cache()
            held.append(torch.cuda.memory_allocated())
    assert held[-1] <= held[0]


@pytest.mark.parametrize("mode", ["block", "phase"])
def test_weights_keep_to_the_budget(mode, model, sample):
    original = model("int8").clone(disable_dynamic=True)
    budget = original.model_size() * 0.9
    made = offloaded(original, OffloadSettings(mode, budget_gb=budget / 1e9))
    taken = []
    sample(made, callback=lambda *_: taken.append(held(made)))
    assert 0 < max(taken) <= budget * 1.05
