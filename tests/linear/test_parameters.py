"""A layer's parameters, moved and put back as core does it, each step in or outside of the mode that prompts run in."""

import itertools

import comfy.utils
import pytest
import torch
from layers import DTYPE, HOLDING, K, N, layer_of

every_format = pytest.mark.parametrize("format_name", [*HOLDING, "float"])
# whether each of four steps happens inside
MODES = list(itertools.product((True, False), repeat=4))


def compute(layer, inside):
    x = torch.randn((3, K), generator=torch.Generator().manual_seed(4)).to(DTYPE)
    with torch.inference_mode(inside):
        return layer(x)


@every_format
def test_a_moved_layer_computes_the_same(format_name):
    for load, there, back, run in MODES:
        layer = layer_of(format_name, load)
        first = compute(layer, run)
        for inside in (there, back, there):
            held = layer.weight
            with torch.inference_mode(inside):
                # what leaves a device and comes to one lies elsewhere
                layer._apply(lambda tensor: tensor.clone())
            assert layer.weight is not held
        assert torch.equal(compute(layer, run), first), (load, there, back, run)


@every_format
def test_a_weight_that_was_patched_is_put_back(format_name):
    """Core keeps the parameter that a LoRA replaces and sets it again, whenever that happens."""
    for load, patch, restore, again in MODES:
        layer = layer_of(format_name, load)
        first = compute(layer, patch)
        for inside, back in ((patch, restore), (restore, again), (again, patch)):
            with torch.inference_mode(inside):
                kept = layer.weight.to(device=torch.device("cpu"), copy=False)
                layer.set_weight(torch.ones((N, K)), seed=5)
            assert not torch.equal(compute(layer, inside), first)
            with torch.inference_mode(back):
                comfy.utils.set_attr_param(layer, "weight", kept)
        assert torch.equal(compute(layer, load), first), (load, patch, restore, again)


@every_format
def test_moving_to_where_it_lies_copies_nothing(format_name):
    for load, inside in itertools.product((True, False), repeat=2):
        layer = layer_of(format_name, load)
        before = dict(layer.named_parameters())
        with torch.inference_mode(inside):
            layer.to(torch.device("cpu"))
        assert {name: id(held) for name, held in layer.named_parameters()} == {n: id(p) for n, p in before.items()}
