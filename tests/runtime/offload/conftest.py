"""The demo's Wan, and a way to have its blocks streamed on a CPU: core loads in part, the rest is taken for away."""

import functools
from pathlib import Path

import pytest
import torch

from x2v_quant.demo import assets

LATENT = (1, 16, 2, 8, 8)


def load(models, kind):
    """A MODEL of our loader, or of core's for the original. models: a folder that the demo was written to."""
    import comfy.sd

    from x2v_quant.loading.dit import load_dit

    path = str(Path(models) / "diffusion_models" / assets.names(kind).t2v)
    return comfy.sd.load_diffusion_model(path) if kind == assets.ORIGINAL else load_dit(path)


def sample_with(model, steps=2, callback=None):
    """Latents; the same noise and prompt every time."""
    import comfy.sample

    width = model.model.diffusion_model.text_embedding[0].in_features
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(LATENT, generator=generator)
    positive, negative = ([[torch.randn((1, 16, width), generator=generator), {}]] for _ in range(2))
    return comfy.sample.sample(
        model,
        noise,
        steps,
        3.0,
        "euler",
        "simple",
        positive,
        negative,
        torch.zeros(LATENT),
        disable_pbar=True,
        seed=0,
        callback=callback,
    )


def is_away(parameter, device):
    """On a device that is the CPU: what core has not loaded is marked by `mark_loaded`."""
    return not getattr(parameter, "x2v_test_loaded", False)


def mark_loaded(patcher, *_):
    """An ON_LOAD callback."""
    for module in patcher.model.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                parameter.x2v_test_loaded = bool(getattr(module, "comfy_patched_weights", False))


def stream_on_cpu(model, settings):
    """A clone that is offloaded as it would be on a GPU without dynamic VRAM."""
    from comfy.patcher_extension import CallbacksMP

    from x2v_quant.runtime.offload.apply import attach, install, streamed_blocks
    from x2v_quant.runtime.offload.wrappers import Streaming

    clone = model.clone()
    find = functools.partial(streamed_blocks, settings)
    attach(clone, settings, find(clone.model.diffusion_model), [])
    install(clone, Streaming(settings, find, is_away))
    clone.add_callback(CallbacksMP.ON_LOAD, mark_loaded)
    return clone


@pytest.fixture
def model(demo_models):
    """model(kind="int8") -> MODEL"""
    return lambda kind="int8": load(demo_models, kind)


@pytest.fixture
def sample():
    """sample(model, steps=2, callback=None) -> latents"""
    return sample_with


@pytest.fixture
def offload_on_cpu():
    """offload_on_cpu(model, settings) -> MODEL"""
    return stream_on_cpu
