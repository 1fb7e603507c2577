"""What Quantize Model and Quantize CLIP made, unloaded by core between two prompts, each step in or outside of the mode
that prompts run in."""

import itertools

import comfy.model_management
import pytest
import torch

from x2v_quant.formats import FORMATS

pytestmark = pytest.mark.slow

MODES = list(itertools.product((True, False), repeat=3))
WANTED = [name for name, row in FORMATS.items() if row.name == row.family]


def unload(inside):
    with torch.inference_mode(inside):
        comfy.model_management.unload_all_models()


@pytest.mark.parametrize("format_name", WANTED)
def test_the_latents_stay(format_name, dense, quantize, sample, with_lora):
    """Of the quantized model, with LoRAs too, and of the one that it was made of."""
    for load, free, run in MODES:
        with torch.inference_mode(load):
            source = dense()
            made = quantize(source, format_name)
        models = [made, with_lora(made), with_lora(made, bypass=True), source]
        with torch.inference_mode(run):
            first = [sample(model, steps=1) for model in models]
        for model, latents in [*zip(models, first, strict=True)] * 2:
            unload(free)
            with torch.inference_mode(run):
                assert torch.equal(sample(model, steps=1), latents), (load, free, run)


def test_weights_that_ask_for_a_gradient_are_quantized(dense, quantize, sample):
    """As older releases of ComfyUI load them; a rotation may have been made inside before."""
    for inside in (True, False):
        with torch.inference_mode(inside):
            source = dense()
            if not inside:
                source.model.requires_grad_(True)
            made = [quantize(source, format_name) for format_name in WANTED]
            source.model.requires_grad_(False)
        assert not any(parameter.requires_grad for model in made for parameter in model.model.parameters())
