"""Compiled models that core unloads between two prompts, each step in or outside of the mode that prompts run in."""

import itertools

import comfy.model_management
import pytest
import small_wan
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.loading.dit import load_dit
from x2v_quant.runtime.compiling import compilations_of, compiled
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.slow


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
        assert "are used" in compilations_of(model).text() or graphs > 0
        for _ in range(2):
            with torch.inference_mode(free):
                comfy.model_management.unload_all_models()
            with torch.inference_mode(run):
                assert torch.equal(small_wan.sample(model), first), (load, free, run)
        assert compilations_of(model).graphs == graphs  # nothing that dynamo looks at has changed


def test_a_model_that_is_loaded_again_is_not_compiled_again(path):
    """Both flags of /free: what the cache holds goes too. Dynamo gives a code up after some variants of it."""
    with torch.inference_mode():
        first, _ = compiled(load_dit(path, SchemeChoice(dit="int8-dequant")), "eager")
        latents = small_wan.sample(first)
        comfy.model_management.unload_all_models()
        again, _ = compiled(load_dit(path, SchemeChoice(dit="int8-dequant")), "eager")
        assert torch.equal(small_wan.sample(again), latents)
    assert compilations_of(again).graphs == 0
    assert compilations_of(again).text() == (
        "0 graphs for 2 blocks in 2 calls of the model: those of models that were loaded before are used"
    )


def test_blocks_that_dynamo_has_given_up_are_told(path, monkeypatch):
    monkeypatch.setattr("x2v_quant.runtime.compiling.apply.VARIANTS", 2)
    torch._dynamo.reset()
    with torch.inference_mode():
        for scheme, dtype in (("int8-dequant", "bf16"), ("int8-reference", "bf16"), ("int8-dequant", "fp32")):
            model, _ = compiled(load_dit(path, SchemeChoice(dit=scheme, compute_dtype=dtype)), "eager")
            small_wan.sample(model)
    torch._dynamo.reset()
    assert "some run uncompiled: dynamo has compiled their code too often already" in compilations_of(model).text()
