"""Compiled models that core unloads between two prompts, each step in or outside of the mode that prompts run in."""

import itertools

import comfy.model_management
import pytest
import small_wan
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.compiling import compilations_of, compiled
from x2v_quant.demo.wan import WanSize
from x2v_quant.loading import load_dit
from x2v_quant.schemes import SchemeChoice


@pytest.fixture(autouse=True, scope="module")
def fresh_dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return str(write_pair(tmp_path_factory.mktemp("compiled"), WanSize(dim=128, ffn=128, blocks=2), "int8")[1])


@pytest.mark.parametrize("scheme", ["int8-dequant", "int8-reference"])
def test_the_latents_stay(scheme, path):
    for load, free, run in itertools.product((True, False), repeat=3):
        with torch.inference_mode(load):
            model, _ = compiled(load_dit(path, SchemeChoice(dit=scheme)), "eager")
        with torch.inference_mode(run):
            first = small_wan.sample(model)
        graphs = compilations_of(model).graphs
        assert graphs > 0
        for _ in range(2):
            with torch.inference_mode(free):
                comfy.model_management.unload_all_models()
            with torch.inference_mode(run):
                assert torch.equal(small_wan.sample(model), first), (load, free, run)
        assert compilations_of(model).graphs == graphs  # nothing that dynamo looks at has changed
