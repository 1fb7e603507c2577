"""Core's own patcher for GPUs under a budget, with stand-ins for the native library that owns the pages."""

import functools
import itertools

import pytest
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import attach, install, offloaded, streamed_blocks
from x2v_quant.runtime.offload.state import offload_state, size_of_buffers
from x2v_quant.runtime.offload.wrappers import Prefetching, Streaming

pytestmark = pytest.mark.usefixtures("inference")
# core takes it for a GPU, and nothing is allocated there
DEVICE = torch.device("meta")
EVERYTHING = "everything"


class Buffer:
    """Page-locked RAM: has room for `most` bytes."""

    def __init__(self, size=0, prewarm=0, most=0):
        self.size, self.most = size, most


class Pages:
    """Device memory: as core does, prioritizing a model takes every mark off."""

    def __init__(self):
        self.mark, self.count = EVERYTHING, 0

    def prioritize(self):
        self.mark = EVERYTHING

    def set_watermark(self, size):
        self.mark = size

    def alloc(self, size):
        self.count += size
        return (self, 0, size)

    def loaded_size(self):
        return 0

    def free_memory(self, size):
        return 0


@pytest.fixture
def dynamic(model, monkeypatch):
    """dynamic(model=None) -> it, or the demo's, with core's patcher for dynamic VRAM"""
    import comfy.model_management
    import comfy.model_patcher
    import comfy_aimdo.host_buffer
    import comfy_aimdo.model_vbar

    monkeypatch.setattr(comfy_aimdo.host_buffer, "HostBuffer", Buffer)
    monkeypatch.setattr(comfy_aimdo.model_vbar, "vbar_unpin", lambda page: None)
    monkeypatch.setattr(comfy.model_management, "pinned_hostbuf_size", lambda size: 2 * size)
    listed = comfy.model_patcher.ModelPatcher._load_list
    # a parameter's values cannot be moved to the stand-in of a GPU
    monkeypatch.setattr(
        comfy.model_patcher.ModelPatcher, "_load_list", lambda self, **_: listed(self, for_dynamic=self.is_dynamic())
    )

    def make(original=None):
        original = original or model("int8")
        patcher = comfy.model_patcher.ModelPatcherDynamic(original.model, DEVICE, torch.device("cpu"))
        patcher.model.dynamic_vbars[DEVICE] = Pages()
        return patcher

    return make


def pages(patcher):
    return patcher.model.dynamic_vbars[DEVICE]


def room(patcher):
    """Bytes that core may copy into RAM."""
    pins = patcher.model.dynamic_pins[DEVICE]
    return sum(pins[subset][0].most for subset in ("weights", "weights-loaded") if subset in pins)


def made(patcher, settings):
    clone = offloaded(patcher, settings)
    assert clone.is_dynamic() and clone is not patcher
    return clone


@pytest.mark.parametrize("mode", ["auto", "block", "phase", "disk", "model"])
@pytest.mark.parametrize("prefetch", [0, 1, 2])
def test_a_budget_is_a_mark_that_holds_for_every_run(mode, prefetch, dynamic):
    patcher = made(dynamic(), OffloadSettings(mode, budget_gb=0.001, prefetch=prefetch))
    for _ in range(2):
        patcher.partially_load(DEVICE)
        assert pages(patcher).mark == 1_000_000 - size_of_buffers(patcher) > 0
        patcher.detach(unpatch_all=False)


def test_a_budget_smaller_than_the_buffers_keeps_nothing(dynamic):
    patcher = made(dynamic(), OffloadSettings("block", budget_gb=0.0001))
    patcher.partially_load(DEVICE)
    assert pages(patcher).mark == 0


def test_without_a_budget_core_decides(dynamic):
    patcher = made(dynamic(), OffloadSettings("block"))
    patcher.partially_load(DEVICE)
    assert pages(patcher).mark == EVERYTHING
    assert pages(patcher).count > 1_000_000


@pytest.mark.parametrize("settings", [OffloadSettings("disk"), OffloadSettings("block", pinned=False)], ids=str)
def test_weights_that_stay_in_the_file_have_no_copies_in_ram(settings, dynamic):
    original = dynamic()
    patcher = made(original, settings)
    original.partially_load(DEVICE)
    assert room(original) > 0
    original.detach(unpatch_all=False)
    patcher.partially_load(DEVICE)
    assert room(patcher) == 0
    layer = patcher.model.diffusion_model.blocks[0].ffn[0]
    assert layer._pin_state is patcher.model.dynamic_pins[DEVICE]
    patcher.detach(unpatch_all=False)
    patcher.partially_load(DEVICE)
    assert room(patcher) == 0
    patcher.detach(unpatch_all=False)
    # the model's other branches are as they were
    original.partially_load(DEVICE)
    assert room(original) > 0


def test_other_modes_leave_core_its_copies(dynamic):
    patcher = made(dynamic(), OffloadSettings("block", budget_gb=0.001))
    patcher.partially_load(DEVICE)
    assert room(patcher) > 0


def test_clones_and_delegates_stay_what_they_are(dynamic):
    patcher = made(dynamic(), OffloadSettings("block", budget_gb=0.001))
    clone = patcher.clone()
    assert type(clone) is type(patcher) and offload_state(clone) is offload_state(patcher)
    assert type(offloaded(clone, OffloadSettings())) is type(dynamic())


@pytest.fixture
def queue(monkeypatch):
    """What core is asked to fetch, in order; None at the end of a run."""
    import comfy.model_prefetch

    asked = []

    def make(modules, device, transformer_options):
        assert transformer_options["prefetch_dynamic_vbars"]
        asked.append([])
        return [None, *modules, None]

    def pop(waiting, device, module):
        waiting.pop(0)
        asked[-1].append(waiting[0])

    monkeypatch.setattr(comfy.model_prefetch, "make_prefetch_queue", make)
    monkeypatch.setattr(comfy.model_prefetch, "prefetch_queue_pop", pop)
    monkeypatch.setattr(comfy.model_prefetch, "cleanup_prefetch_queues", lambda: asked[-1].append("dropped"))
    return asked


@pytest.mark.parametrize("mode", ["block", "phase", "disk"])
def test_blocks_are_fetched_by_core_before_their_turn(mode, model, sample, queue):
    from comfy.patcher_extension import WrappersMP

    original = model("int8")
    expected = sample(original)
    find = functools.partial(streamed_blocks, OffloadSettings(mode))
    clone = original.clone()
    clone.add_wrapper(WrappersMP.APPLY_MODEL, Prefetching(find))
    queue.clear()
    assert torch.equal(sample(clone), expected)
    parts = [part.module for part in find(original.model.diffusion_model)]
    assert queue and all(run == [*parts, None] for run in queue)
    assert not any(module._forward_pre_hooks for module in original.model.modules())


def test_a_block_that_is_left_out_does_no_harm(model, sample, queue):
    from comfy.patcher_extension import WrappersMP

    clone = model("int8").clone()
    clone.add_wrapper(WrappersMP.APPLY_MODEL, Prefetching(functools.partial(streamed_blocks, OffloadSettings("block"))))
    # as a node does that skips a block
    clone.set_model_patch_replace(lambda args, extra: {"img": args["img"]}, "dit", "double_block", 1)
    queue.clear()
    sample(clone)
    blocks = list(clone.model.diffusion_model.blocks)
    assert queue and all(run == [blocks[0], "dropped"] for run in queue)


@pytest.mark.parametrize(
    ("settings", "wrapped"),
    [
        (OffloadSettings("auto", budget_gb=1), False),
        (OffloadSettings("model"), False),
        (OffloadSettings("block"), True),
        (OffloadSettings("block", prefetch=0), False),
        (OffloadSettings("disk"), True),
    ],
    ids=str,
)
def test_core_is_asked_to_fetch_only_where_blocks_come_and_go(settings, wrapped, dynamic):
    from comfy.patcher_extension import WrappersMP

    clone = dynamic().clone()
    attach(clone, settings, [], [])
    install(clone, Streaming(settings, functools.partial(streamed_blocks, settings)))
    assert bool(clone.get_all_wrappers(WrappersMP.APPLY_MODEL)) is wrapped


def test_what_was_loaded_for_good_is_put_back_in_either_mode(dynamic, tmp_path):
    """Norms are too small for pages: core moves them as a whole, keeps what they were, and unloads outside of the mode
    that prompts run in."""
    path = str(write_pair(tmp_path, WanSize(dim=128, ffn=128, blocks=1), "int8")[1])
    for load, unload, again in itertools.product((True, False), repeat=3):
        with torch.inference_mode():
            plain = load_dit(path)
        patcher, norm = dynamic(plain), plain.model.diffusion_model.blocks[0].self_attn.norm_q
        first = norm.weight.clone()
        for there, back in ((load, unload), (again, load), (unload, again)):
            with torch.inference_mode(there):
                patcher.load(DEVICE)
            assert norm.weight.device == DEVICE
            with torch.inference_mode(back):
                patcher.partially_unload(None, 1e32)
            assert torch.equal(norm.weight, first), (load, unload, again)
