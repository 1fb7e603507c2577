"""A small Wan in several formats and a few steps of sampling."""

import functools

import pytest
import small_wan

from x2v_quant.benchmarks.wan import WanSize

SIZE = WanSize(blocks=2)


@pytest.fixture(scope="session")
def wan_files(tmp_path_factory):
    """Format -> (bf16 path, quantized path)."""
    return small_wan.WanFiles(tmp_path_factory, SIZE)


@pytest.fixture
def load(wan_files):
    """load(format, scheme) -> MODEL; the scheme `reference` quantizes activations on every machine."""
    from x2v_quant.loading.dit import load_dit
    from x2v_quant.schemes import SchemeChoice

    def make(format_name="int8-channel", scheme="reference"):
        return load_dit(wan_files[format_name][1], SchemeChoice(dit=scheme, compute_dtype="fp32"))

    return make


@pytest.fixture
def sample():
    """sample(model, steps=4, cfg=1.0, sampler="euler", seed=0, noise=None) -> latents"""
    return functools.partial(small_wan.sample, steps=4, cfg=1.0, latent=small_wan.IMAGE, tokens=9)
