"""A small Wan, unquantized and in int8, and two steps of sampling."""

import functools
import json

import pytest
import safetensors.torch
import small_wan

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize

SIZE = WanSize(blocks=2)


@pytest.fixture(scope="session")
def wan_paths(tmp_path_factory):
    """(bf16 path, int8 path)"""
    return tuple(map(str, write_pair(tmp_path_factory.mktemp("wan"), SIZE, "int8")))


@pytest.fixture
def load_model():
    """load_model(tensors) -> the MODEL of core's own loader"""
    import comfy.sd

    config = json.dumps({"transformer": {"text_dim": SIZE.text}})
    return lambda tensors: comfy.sd.load_diffusion_model_state_dict(dict(tensors), metadata={"config": config})


@pytest.fixture
def load_dense(wan_paths, load_model):
    return lambda: load_model(safetensors.torch.load_file(wan_paths[0]))


@pytest.fixture
def sample():
    """sample(model, seed=0, steps=2) -> latents, with a negative prompt as well"""
    return functools.partial(small_wan.sample, latent=small_wan.IMAGE, tokens=9)
