"""LoRAs stacked beside the weights, ours and core's in any order, through clones, copies and unloading."""

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy.patcher_extension import PatcherInjection
from distance import distance

from x2v_quant.loras import apply_lora
from x2v_quant.quantizing import quantize_model, select_in_model
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
FORMAT = "int8-channel"
ROUNDING = 1e-5


def ours(patcher, tensors):
    return apply_lora(patcher, tensors, "lora.safetensors", 1.0, "bypass")[0]


def cores(patcher, tensors):
    return comfy.sd.load_bypass_lora_for_models(patcher, None, tensors, 1.0, 0)[0]


def merged(patcher, tensors):
    return comfy.sd.load_lora_for_models(patcher, None, tensors, 1.0, 0)[0]


@pytest.fixture
def model(models):
    return models(FORMAT)


@pytest.fixture
def wanted(model, dequantized, output, plain):
    """wanted(seeds) -> the output with the LoRAs of these seeds."""

    def make(seeds):
        dense = dequantized(model)
        for seed in seeds:
            dense = merged(dense, plain(seed))
        return output(dense)

    return make


@pytest.mark.parametrize(
    "loaders",
    [(ours, cores), (cores, ours), (cores, cores), (ours, cores, ours), (cores, ours, cores)],
    ids=lambda loaders: "-".join(loader.__name__ for loader in loaders),
)
def test_loaders_stack_in_any_order(loaders, model, wanted, output, plain):
    alone, patched = output(model), model
    for seed, loader in enumerate(loaders):
        patched = loader(patched.clone(), plain(seed))
    assert distance(output(patched), wanted(range(len(loaders)))) < ROUNDING * 10
    assert torch.equal(output(model), alone)


def test_every_stage_of_a_stack_can_be_used_again(model, wanted, output, plain):
    one = ours(model, plain(0))
    two = ours(one, plain(1))
    results = {}
    for _ in range(2):
        for name, patcher in (("alone", model), ("two", two), ("one", one)):
            result = output(patcher)
            assert torch.equal(results.setdefault(name, result), result)
    assert distance(results["two"], wanted([0, 1])) < ROUNDING * 10
    assert distance(results["one"], wanted([0])) < ROUNDING * 10


def test_a_stack_that_is_gone_leaves_the_layers_as_they_were(model, output, plain):
    alone = output(model)
    forwards = {name: module.forward for name, module in model.model.diffusion_model.named_modules()}
    stack = ours(ours(model, plain(0)), plain(1))
    output(stack)
    comfy.model_management.unload_all_models()
    del stack
    assert {name: module.forward for name, module in model.model.diffusion_model.named_modules()} == forwards
    assert torch.equal(output(model), alone)


def test_a_merged_lora_goes_with_a_bypassed_one(model, wanted, output, plain):
    """Merging takes what lies around the layers off and puts it on again."""
    expected = wanted([0, 1, 2])
    effect = distance(output(model), expected)
    patched = merged(ours(ours(model, plain(0)), plain(1)), plain(2))
    assert distance(output(patched), expected) < 0.1 * effect
    output(model)


def test_a_clone_with_another_model_gets_its_own_layers(models, model, output, original, tmp_path, plain):
    """What core does for torch.compile: the clone's model is loaded anew."""
    import safetensors.torch

    from x2v_quant.benchmarks.quantize import quantized
    from x2v_quant.loading.dit import load_dit

    path = tmp_path / "again.safetensors"
    safetensors.torch.save_file(quantized(original, "int8", "dit"), path)
    other = load_dit(str(path), models(FORMAT).cached_patcher_init[1][1])
    stack = ours(ours(model, plain(0)), plain(1))
    expected = output(stack)
    again = stack.clone(model_override=other.get_clone_model_override())
    assert torch.equal(output(again), expected)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_quantize_model_behind_a_stack_keeps_it(count, model, dequantized, wanted, output, plain):
    dense = dequantized(model)
    for seed in range(count):
        dense = ours(dense, plain(seed))
    expected = output(dense)
    made = quantize_model(dense, select_in_model(dense, FORMAT, "", SchemeChoice()))
    assert distance(output(made), expected) < 0.1
    assert distance(output(made), wanted(range(count))) < 0.1 * distance(wanted([]), wanted(range(count)))
    assert torch.equal(output(dense), expected)


def test_injections_of_others_stay(model, output, plain):
    calls = []
    other = model.clone()
    injection = PatcherInjection(lambda _: calls.append("on"), lambda _: calls.append("off"))
    other.set_injections("other", [injection])
    patched = ours(ours(other, plain(0)), plain(1))
    output(patched)
    assert calls[-1] == "on"
    output(model)
    assert calls[-1] == "off"
