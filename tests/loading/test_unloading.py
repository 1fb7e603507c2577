"""Models that core unloads between two prompts, each step in or outside of the mode that prompts run in."""

import itertools
import random

import comfy.model_management
import comfy.sd
import pytest
import torch
from small_wan import KINDS

from x2v_quant.formats import SMOOTHED
from x2v_quant.loading import load_dit

# of loading, unloading and running: whether it happens inside
MODES = list(itertools.product((True, False), repeat=3))
every_format = pytest.mark.parametrize("format_name", [*KINDS, *SMOOTHED.values()])


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
