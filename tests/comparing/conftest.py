"""The demo's trained Wan as core loads it, other forms of it, and what both are sampled with."""

import pytest
import torch

from x2v_quant.demo import assets
from x2v_quant.schemes import SchemeChoice

STEPS = 4
LATENT = (1, 16, 2, 8, 8)


@pytest.fixture(scope="session")
def dense_file(demo_models):
    return str(demo_models / "diffusion_models" / assets.names(assets.ORIGINAL).t2v)


@pytest.fixture(scope="session")
def dense(dense_file):
    """The bf16 model, once for all tests: nothing may change it."""
    import comfy.sd

    with torch.inference_mode():
        return comfy.sd.load_diffusion_model(dense_file)


@pytest.fixture
def quantized(dense):
    """quantized(lines="", format) -> what the node Quantize Model gives. It computes as every CPU can: how far the
    results are apart must not depend on whether this one quantizes activations."""
    from x2v_quant.quantizing import quantize_model, select_in_model

    def run(lines="", format_name="int8-channel"):
        choice = SchemeChoice(dit="dequant", compute_dtype="fp32")
        return quantize_model(dense, select_in_model(dense, format_name, lines, choice), choice)

    return run


@pytest.fixture
def patched(dense):
    """patched(layer, share) -> a clone in which one layer's weight is larger by that share."""

    def make(layer, share):
        clone = dense.clone()
        weight = dense.model.diffusion_model.get_submodule(layer).weight
        clone.add_patches({f"diffusion_model.{layer}.weight": (share * weight.float(),)})
        return clone

    return make


@pytest.fixture
def job(dense):
    """job(**settings) -> what both models get; KSampler's inputs may be given."""
    from x2v_quant.comparing.sampling import Job, Settings
    from x2v_quant.comparing.synthetic import conditioning

    def make(**changes):
        settings = {"seed": 0, "steps": STEPS, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple", **changes}
        prompts = (conditioning(dense, seed) for seed in (0, 1))
        return Job(Settings(**settings), *prompts, {"samples": torch.zeros(LATENT)})

    return make


@pytest.fixture
def compare(job):
    """compare(reference, candidate, **settings) -> the report."""
    from x2v_quant.comparing.compare import compare

    return lambda reference, candidate, vae=None, **changes: compare(reference, candidate, job(**changes), vae).report


@pytest.fixture(scope="session")
def vae(demo_models):
    import comfy.sd
    import comfy.utils

    with torch.inference_mode():
        file = demo_models / "vae" / assets.names(assets.ORIGINAL).vae
        return comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(file)))


@pytest.fixture
def layer():
    """layer(name, snr in dB, shape) -> what was found of a layer."""
    from x2v_quant.comparing.layers import Layer

    def make(name, snr, shape=(8, 8)):
        noise = {float("inf"): 0.0, float("-inf"): float("nan")}.get(snr, 10 ** (-snr / 10))
        return Layer(name, shape, "float32", "int8-channel on torch", 1.0, noise)

    return make
