"""A small Wan in several formats and a few steps of sampling."""

import pytest
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.demo.wan import WanSize

SIZE = WanSize(blocks=2)
# format -> what the demo's writer calls it
KINDS = {"int8-channel": "int8", "fp8-channel": "fp8", "fp8-block128": "block128", "nvfp4": "nvfp4"} | {
    "int4-g128": "int4"
}


@pytest.fixture(scope="session")
def wan_files(tmp_path_factory):
    """Format -> (bf16 path, quantized path) of the same small Wan t2v, written when a test asks for it."""

    class Files(dict):
        def __missing__(self, name):
            self[name] = tuple(map(str, write_pair(tmp_path_factory.mktemp(name), SIZE, KINDS[name])))
            return self[name]

    return Files()


@pytest.fixture
def load(wan_files):
    """load(format, scheme) -> MODEL; the scheme `reference` quantizes activations on every machine."""
    from x2v_quant.loading import load_dit
    from x2v_quant.schemes import SchemeChoice

    def make(format_name="int8-channel", scheme="reference"):
        return load_dit(wan_files[format_name][1], SchemeChoice(dit=scheme, compute_dtype="fp32"))

    return make


@pytest.fixture
def sample():
    """sample(model, steps=4, cfg=1.0, sampler="euler", seed=0) -> latents"""
    import comfy.sample

    def run(model, steps=4, cfg=1.0, sampler="euler", seed=0, noise=None):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn((1, 16, 1, 8, 8), generator=generator)
        positive, negative = ([[torch.randn((1, 9, SIZE.text), generator=generator), {}]] for _ in range(2))
        noise = drawn if noise is None else noise
        return comfy.sample.sample(
            model, noise, steps, cfg, sampler, "simple", positive, negative, torch.zeros_like(noise),
            disable_pbar=True, seed=seed,
        )  # fmt: skip

    return run
