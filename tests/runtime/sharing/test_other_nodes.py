"""Hooks, layers and methods of other nodes switch the sharing of what they touch off, and of nothing else."""

import comfy.ops
import pytest
import torch
from small_wan import of_first_block

from x2v_quant.runtime.sharing import shared_activations

pytestmark = pytest.mark.usefixtures("inference")


def write_to(module, args):
    args[0].mul_(1.5)


@pytest.mark.parametrize("layer", ["self_attn.k", "self_attn.v"])
def test_another_nodes_hook_on_a_layer_switches_its_group_off(layer, load, sample):
    """It may write to the input, and does here, where nothing counts writes."""
    model = load()
    made, _ = shared_activations(model)
    hook = of_first_block(made, layer).register_forward_pre_hook(write_to)
    try:
        expected = sample(model)
        assert torch.equal(sample(made), expected)
        _, notes = shared_activations(model)
        assert f"not shared in 1 modules: another node hooks into {layer[-1]}" in notes
    finally:
        hook.remove()
    assert not torch.equal(sample(model), expected)


def test_a_layer_between_that_is_not_ours_may_be_hooked_too(load, sample):
    """k is of core's layers, q and v are quantized."""
    model = load()
    attention = of_first_block(model, "self_attn")
    attention.k = linear = comfy.ops.manual_cast.Linear(attention.k.in_features, attention.k.out_features)
    linear.weight.data.normal_(generator=torch.Generator().manual_seed(2)).mul_(0.05)
    linear.bias.data.zero_()
    made, notes = shared_activations(model)
    assert "1 x q, v of WanSelfAttention quantize their input once" in notes
    assert torch.equal(sample(made), sample(model))
    linear.register_forward_pre_hook(write_to)
    assert torch.equal(sample(made), sample(model))


def test_a_layer_of_another_node_switches_its_group_off(load, sample):
    class Writing(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x.mul_(1.5))

    model = load()
    patched = model.clone()
    patched.add_object_patch("diffusion_model.blocks.0.self_attn.k", Writing(of_first_block(model, "self_attn.k")))
    made, _ = shared_activations(patched)
    assert torch.equal(sample(made), sample(patched))
    assert not torch.equal(sample(made), sample(model))


def test_a_replaced_forward_switches_its_module_off(load, sample):
    model = load()
    attention = of_first_block(model, "self_attn")
    original = attention.forward

    def writing(x, freqs, transformer_options=None):
        attention.q(x)
        x.mul_(1.5)
        return original(x, freqs, transformer_options=transformer_options or {})

    patched = model.clone()
    patched.add_object_patch("diffusion_model.blocks.0.self_attn.forward", writing)
    made, _ = shared_activations(patched)
    assert torch.equal(sample(made), sample(patched))
    assert not torch.equal(sample(made), sample(model))
