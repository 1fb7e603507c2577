"""Models that core unloads between two prompts, each step in or outside of the mode that prompts run in."""

import itertools
import random

import comfy.model_management
import comfy.sd
import pytest
import torch
from small_wan import KINDS

from x2v_quant.calibration.recorder import calibrated
from x2v_quant.core.features import rotates_int8
from x2v_quant.formats import FORMATS, SMOOTHED
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.runtime.offload import OffloadSettings
from x2v_quant.runtime.offload.apply import offloaded
from x2v_quant.runtime.sampling import PrecisionSchedule, StepReport, patched
from x2v_quant.runtime.sampling.schedule import parse_layers
from x2v_quant.runtime.sharing import shared_activations

pytestmark = pytest.mark.slow

# of loading, unloading and running: whether it happens inside
MODES = list(itertools.product((True, False), repeat=3))
ROTATED_TOO = ["w4a8", *(["int8-convrot"] if rotates_int8() else [])]
# smoothed ones whose rotation divides the widths of the small model
FITTING = [name for name in SMOOTHED.values() if FORMATS[name].rotation <= 256]
every_format = pytest.mark.parametrize("format_name", [*KINDS, *ROTATED_TOO, *FITTING])

# a file whose layers are all so narrow could as well be mxfp8
every_kind = pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind != "mxfp6"])
SCHEDULE = PrecisionSchedule(first=1, patterns=parse_layers("blocks.1.ffn.0"))
# what a node does to a MODEL
BRANCHES = {
    "high precision": lambda model: patched(model, SCHEDULE),
    "guard and report": lambda model: patched(model, nan_guard=True, report=StepReport()),
    "shared activations": lambda model: shared_activations(model)[0],
    "calibrated": lambda model: calibrated(model)[0],
    "there only while it samples": lambda model: offloaded(model, OffloadSettings("model")),
}


def unload(inside):
    """What the server does for /free, which it does outside."""
    with torch.inference_mode(inside):
        comfy.model_management.unload_all_models()


def press(inside):
    """Part of what is loaded has to make room."""
    with torch.inference_mode(inside):
        for loaded in [each for each in comfy.model_management.current_loaded_models if each.model is not None]:
            loaded.model_unload(memory_to_free=loaded.model_loaded_memory() // 2)


@every_format
def test_the_latents_stay(format_name, wan_files, sample):
    for load, free, run in MODES:
        with torch.inference_mode(load):
            model = load_dit(wan_files[format_name][1])
        with torch.inference_mode(run):
            first = sample(model, steps=1)
        for _ in range(2):
            unload(free)
            with torch.inference_mode(run):
                assert torch.equal(sample(model, steps=1), first), (load, free, run)


@every_format
def test_the_latents_stay_with_loras_in_any_order(format_name, wan_files, sample, lora):
    """Plain, with a LoRA in the weights, with one beside them: taken in turns, unloaded wholly or in part between."""
    drawn = random.Random(format_name)
    with torch.inference_mode():
        plain = load_dit(wan_files[format_name][1])
        models = [
            plain,
            comfy.sd.load_lora_for_models(plain, None, lora(), 1.0, 0)[0],
            comfy.sd.load_lora_for_models(plain, None, lora(), 0.5, 0)[0],
            comfy.sd.load_bypass_lora_for_models(plain, None, lora(), 1.0, 0)[0],
        ]
        first = [sample(model, steps=1) for model in models]
    assert len({tensor.sum().item() for tensor in first}) == len(models)
    for _ in range(16):
        drawn.choice((unload, press, unload))(drawn.random() < 0.3)
        which = drawn.randrange(len(models))
        inside = drawn.random() < 0.7
        with torch.inference_mode(inside):
            assert torch.equal(sample(models[which], steps=1), first[which])


@pytest.mark.parametrize("branch", BRANCHES)
def test_the_latents_stay_behind_other_nodes(branch, wan_files, sample):
    for load, free, run in MODES:
        with torch.inference_mode(load):
            plain = load_dit(wan_files["int8-channel"][1])
            model = BRANCHES[branch](plain)
        with torch.inference_mode(run):
            first = sample(model, steps=2)
        for each in (plain, model, plain, model):
            unload(free)
            with torch.inference_mode(run):
                latents = sample(each, steps=2)
            assert torch.equal(latents, first) or each is plain, (load, free, run)


def stays(load, compute):
    """load() -> an encoder, compute(encoder) -> a tensor: the same whatever is unloaded between."""
    for mode in MODES:
        inside, free, run = mode
        with torch.inference_mode(inside):
            encoder = load()
        with torch.inference_mode(run):
            first = compute(encoder)
        for _ in range(2):
            unload(free)
            with torch.inference_mode(run):
                assert torch.equal(compute(encoder), first), mode


@every_kind
def test_a_prompt_is_encoded_the_same(kind, encoder_files):
    path = str(encoder_files / f"t5-{kind}.pth")

    def encode(clip):
        return clip.encode_from_tokens(clip.tokenize("a small red fox"))

    stays(lambda: load_t5(path), encode)


@every_kind
def test_a_picture_is_encoded_the_same(kind, encoder_files):
    path = str(encoder_files / f"clip-{kind}.pth")
    picture = torch.rand((1, 32, 32, 3), generator=torch.Generator().manual_seed(2))
    stays(
        lambda: load_clip_vision(path),
        lambda clip: clip.encode_image(picture)["penultimate_hidden_states"],
    )
