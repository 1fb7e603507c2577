"""Wan 2.2's two experts: loaded as two MODELs, and the idle one leaves before anything else does."""

import gc
import shutil
import weakref

import psutil
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor

from x2v_quant.benchmarks import models
from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.checkpoints import CheckpointError
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.experts import let_leave_first, load_experts, memory_needed
from x2v_quant.quantizing import quantize_model, select_in_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
SIZE = WanSize(blocks=2)
LATENT = (1, 16, 2, 8, 8)
CONDS = {"positive": [{}]}
TURNS = 50
WARM = 5
GROWTH = 16e6  # bytes that allocators may keep; one of the models has 2.5 million weights


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """ "high", "low" and "other" -> int8 file of its own weights; "pictures" -> one with other inputs."""
    folder = tmp_path_factory.mktemp("experts")
    found = {}
    for seed, name in enumerate(("high", "low", "other", "pictures")):
        made = models.write(folder, dit(seed, SIZE, image_to_video=name == "pictures"), "dit", ["int8"])
        found[name] = str(folder / f"wan_{name}_noise.safetensors")
        shutil.move(made.ours["int8"], found[name])
    return found


@pytest.fixture
def pair(files):
    return load_experts(files["high"], files["low"])


@pytest.fixture
def loaded(files, pair):
    """(other model, high-noise expert, low-noise expert), of which core has loaded the first two."""
    import comfy.model_management

    # what other tests have left would take room on the card
    comfy.model_management.unload_all_models()
    other = load_dit(files["other"])
    comfy.model_management.load_models_gpu([other])
    comfy.model_management.load_models_gpu([pair[0]])
    yield other, *pair
    comfy.model_management.unload_all_models()


@pytest.fixture
def card(monkeypatch):
    """card(bytes): a device of this size, on which nothing but loaded weights takes memory."""
    import comfy.model_management as management

    def free(size):
        def free_memory(device=None, torch_free_too=False):
            left = size - sum(model.model_loaded_memory() for model in management.current_loaded_models)
            return (left, 0) if torch_free_too else left

        monkeypatch.setattr(management, "get_free_memory", free_memory)

    return free


def weights(model):
    parameters = model.model.diffusion_model.parameters()
    return next(p for p in parameters if isinstance(p.data, QuantizedTensor)).data._qdata


def test_each_is_its_own_file(files, pair, sample):
    for name, model in zip(("high", "low"), pair, strict=True):
        assert torch.equal(sample(model), sample(load_dit(files[name])))
    assert not torch.equal(weights(pair[0]), weights(pair[1]))


@pytest.mark.parametrize(
    ("high", "low", "message"),
    [
        ("low", "high", r"wan_low_noise\S+ and wan_high_noise\S+ are swapped"),
        ("high", "high", "is picked as both experts"),
        ("high", "pictures", "they are no pair"),
    ],
)
def test_two_that_do_not_belong_together_are_refused(files, high, low, message):
    with pytest.raises(CheckpointError, match=message):
        load_experts(files[high], files[low])


@pytest.mark.parametrize("lacking", [0.3, 1.0])
def test_the_idle_expert_leaves_first_and_as_far_as_it_has_to(loaded, card, lacking):
    other, high, low = loaded
    before = high.loaded_size()
    needed = memory_needed(low, LATENT, CONDS)
    assert needed > 1.1 * low.model_size()
    size = needed + other.loaded_size() + (1 - lacking) * before
    card(size)
    let_leave_first(high.model, low, LATENT, CONDS)
    assert other.loaded_size() == other.model_size()
    assert high.loaded_size() <= (1 - lacking) * before
    assert (high.loaded_size() > 0) == (lacking < 1)


def test_core_then_finds_the_room_it_wants(loaded, card):
    """With the same card core alone would take what the user needs next, or the expert: which, is up to references."""
    import comfy.model_management

    other, high, low = loaded
    needed = memory_needed(low, LATENT, CONDS)
    card(needed + other.loaded_size())
    let_leave_first(high.model, low, LATENT, CONDS)
    assert comfy.model_management.get_free_memory(low.load_device) >= needed
    assert not comfy.model_management.free_memory(needed, low.load_device)
    assert other.loaded_size() == other.model_size()


def test_nothing_leaves_if_there_is_room(loaded, card):
    other, high, low = loaded
    card(memory_needed(low, LATENT, CONDS) + other.loaded_size() + high.loaded_size())
    let_leave_first(high.model, low, LATENT, CONDS)
    assert [model.loaded_size() for model in (other, high)] == [other.model_size(), high.model_size()]


def test_under_dynamic_vram_its_pages_go_to_the_end_of_the_line(loaded, card, monkeypatch):
    """Core puts them first when it loads a model, and takes the last first. Its paging itself needs a GPU."""
    import comfy_aimdo.model_vbar

    class Pages:
        turns = 0

        def deprioritize(self):
            self.turns += 1

    assert hasattr(comfy_aimdo.model_vbar.ModelVBAR, "deprioritize")
    _, high, low = loaded
    high.model.dynamic_vbars = {low.load_device: Pages()}
    monkeypatch.setattr(low, "is_dynamic", lambda: True, raising=False)
    card(0)
    let_leave_first(high.model, low, LATENT, CONDS)
    assert high.model.dynamic_vbars[low.load_device].turns == 1
    assert high.loaded_size() == high.model_size()


def test_clones_know_their_partner_too(files, sample, lora):
    """A LoRA loader or ModelSamplingSD3 gives a clone."""
    import comfy.patcher_extension
    import comfy.sd

    high, low = load_experts(files["high"], files["low"])
    clone = comfy.sd.load_lora_for_models(low.clone(), None, lora(), 0.5, 0)[0]
    kind = comfy.patcher_extension.WrappersMP.PREPARE_SAMPLING
    assert len(clone.get_wrappers(kind, "x2v_idle_expert")) == 1
    assert torch.isfinite(sample(clone)).all()
    assert torch.isfinite(sample(high)).all()


@pytest.fixture
def quantized():
    """quantized(expert) -> what Quantize Model makes of it"""

    def run(model):
        choice = SchemeChoice()
        return quantize_model(model, select_in_model(model, "fp8-channel", "", choice), choice)

    return run


@pytest.mark.parametrize("both", [True, False], ids=["both", "one"])
def test_what_quantize_model_makes_of_them_is_a_pair_too(both, files, quantized, card, monkeypatch):
    """Also if the experts themselves are gone."""
    import comfy.model_management as management
    from comfy.patcher_extension import WrappersMP

    management.unload_all_models()
    other = load_dit(files["other"])
    high, low = load_experts(files["high"], files["low"])
    high = quantized(high)
    low = quantized(low) if both else low
    gc.collect()
    management.load_models_gpu([other])
    management.load_models_gpu([high])
    card(memory_needed(low, LATENT, CONDS) + other.loaded_size())
    monkeypatch.setattr(management, "is_device_cpu", lambda device: False)
    (wrapper,) = low.get_wrappers(WrappersMP.PREPARE_SAMPLING, "x2v_idle_expert")
    assert wrapper(lambda *given: given, low, LATENT, CONDS) == (low, LATENT, CONDS)
    assert other.loaded_size() == other.model_size()
    assert high.loaded_size() == 0
    gone = weakref.ref(high.model)
    del high
    management.unload_all_models()
    gc.collect()
    assert gone() is None


def test_an_expert_outlives_the_other(files, sample):
    high, low = load_experts(files["high"], files["low"])
    expected = sample(high)
    gone = weakref.ref(low.model)
    del low
    gc.collect()
    assert gone() is None
    assert torch.equal(sample(high), expected)


@pytest.mark.slow
def test_fifty_turns_leave_nothing_behind(files, sample):
    import comfy.model_management

    process = psutil.Process()
    pair = load_experts(files["high"], files["low"])
    expected = [sample(model, 1) for model in pair]
    for turn in range(TURNS):
        assert torch.equal(sample(pair[turn % 2], 1), expected[turn % 2])
        if turn == WARM:
            before = process.memory_info().rss
    gc.collect()
    assert process.memory_info().rss - before < GROWTH
    assert len([model for model in comfy.model_management.loaded_models() if model in pair]) <= 2
    gone = [weakref.ref(model.model) for model in pair]
    del pair
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@pytest.mark.gpu
def test_on_a_gpu_the_idle_expert_leaves_and_the_other_model_stays(files, sample, monkeypatch):
    """A card that is full but for what one expert needs, by core's own reserve."""
    import comfy.model_management as management

    other = load_dit(files["other"], disable_dynamic=True)
    high, low = (model.clone(disable_dynamic=True) for model in load_experts(files["high"], files["low"]))
    management.load_models_gpu([other])
    sample(high, 1)
    assert high.loaded_size() > 0
    reserve = management.get_free_memory(low.load_device) - low.model_size()
    monkeypatch.setattr(management, "EXTRA_RESERVED_VRAM", int(reserve))
    sample(low, 1)
    assert other.loaded_size() == other.model_size()
    assert high.loaded_size() < high.model_size()
    management.unload_all_models()
