"""Offloaded models that core unloads between two prompts, each step in or outside of the mode that prompts run in."""

import itertools

import comfy.model_management
import pytest
import torch

from x2v_quant.runtime.offload import OffloadSettings

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mode", ["block", "phase", "disk"])
@pytest.mark.parametrize("share", [None, 0.5])
def test_the_latents_stay(mode, share, model, sample, offload_on_cpu):
    for load, unload, run in itertools.product((True, False), repeat=3):
        with torch.inference_mode(load):
            plain = model()
            first = sample(plain, steps=1)
            budget = None if share is None else plain.model_size() * share / 1e9
            made = offload_on_cpu(plain, OffloadSettings(mode, budget_gb=budget))
        # what another mode has left on the model is taken as well
        for each, inside in ((made, run), (plain, not run), (made, run), (made, load), (plain, run)):
            with torch.inference_mode(inside):
                assert torch.equal(sample(each, steps=1), first), (load, unload, run)
            with torch.inference_mode(unload):
                comfy.model_management.unload_all_models()
