"""A small Wan, unquantized and in int8, and two steps of sampling."""

import json

import pytest
import safetensors.torch
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.demo.wan import WanSize

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
    import comfy.sample

    def run(model, seed=0, steps=2):
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((1, 16, 1, 8, 8), generator=generator)
        positive, negative = ([[torch.randn((1, 9, SIZE.text), generator=generator), {}]] for _ in range(2))
        return comfy.sample.sample(
            model, noise, steps, 3.0, "euler", "simple", positive, negative, torch.zeros_like(noise),
            disable_pbar=True, seed=seed,
        )  # fmt: skip

    return run
