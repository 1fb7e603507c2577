"""LoRAs on every format: beside the weights they are exact, in the weights they are requantized with fresh scales, and
off again they leave no bit behind."""

import comfy.model_management
import comfy.sd
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.formats.requantize import requantized
from x2v_quant.loras import apply_lora
from x2v_quant.loras.apply import WHY_BESIDE

pytestmark = pytest.mark.usefixtures("inference")
any_number = pytest.mark.parametrize("count", [1, 2, 5])
STRENGTHS = (1.0, -0.5, 0.7, 0.3, 1.5)
ALPHAS = (None, 2, 8, 1, None)
RANK = 4
ROUNDING = 1e-5  # of float32 through one layer
FORWARD = 1e-4  # and through the model
FEW_BITS = ("int4-g128", "int4-g128-marlin", "nvfp4")


def core_bypass(patcher, tensors, strength):
    return comfy.sd.load_bypass_lora_for_models(patcher, None, tensors, strength, 0)[0]


def core_merge(patcher, tensors, strength):
    return comfy.sd.load_lora_for_models(patcher, None, tensors, strength, 0)[0]


def our_bypass(patcher, tensors, strength):
    return apply_lora(patcher, tensors, "lora.safetensors", strength, "bypass")[0]


def our_merge(patcher, tensors, strength):
    return apply_lora(patcher, tensors, "lora.safetensors", strength, "merge")[0]


@pytest.fixture
def stacked(plain):
    """stacked(how, patcher, count) -> the patcher with so many LoRAs of different strengths."""

    def make(how, patcher, count):
        for index in range(count):
            patcher = how(patcher, plain(index, ALPHAS[index]), STRENGTHS[index])
        return patcher

    return make


@pytest.fixture
def added(factors):
    """added(layer, x, count) -> what so many LoRAs add to a layer's output, float64."""

    def make(layer, x, count):
        total = torch.zeros(())
        for index in range(count):
            held = factors(index, ALPHAS[index])[layer]
            scale = STRENGTHS[index] * float(held.get("alpha", RANK)) / RANK
            total = total + scale * (x.double() @ held["down"].double().T @ held["up"].double().T)
        return total

    return make


@any_number
@pytest.mark.parametrize("bypass", [core_bypass, our_bypass])
def test_beside_the_weights_each_layer_gets_exactly_what_the_loras_add(
    format_name, count, bypass, models, layers, stacked, added, contents, same
):
    model = models(format_name)
    before = contents(model)
    inputs = {
        layer: torch.randn((3, k), generator=torch.Generator().manual_seed(k)) for layer, (_, k) in layers.items()
    }

    def outputs(patcher):
        comfy.model_management.load_models_gpu([patcher])
        return {layer: patcher.model.diffusion_model.get_submodule(layer)(x) for layer, x in inputs.items()}

    alone = outputs(model)
    with_loras = outputs(stacked(bypass, model, count))
    for layer, x in inputs.items():
        assert distance(with_loras[layer].double(), alone[layer] + added(layer, x, count)) < ROUNDING
        assert distance(with_loras[layer], alone[layer]) > 0.1
    assert same(contents(model), before)
    again = outputs(model)
    assert all(torch.equal(again[layer], alone[layer]) for layer in inputs)


@any_number
def test_beside_the_weights_the_model_does_what_the_dequantized_model_does(
    format_name, count, models, dequantized, output, stacked
):
    model = models(format_name)
    wanted = output(stacked(core_merge, dequantized(model), count))
    alone = output(model)
    got = output(stacked(our_bypass, model, count))
    assert distance(alone, wanted) > 0.05
    assert distance(got, wanted) < FORWARD
    assert torch.equal(output(model), alone)


@any_number
def test_in_the_weights_they_get_fresh_scales_and_off_again_every_bit_is_back(
    format_name, count, models, layers, output, stacked, contents, same
):
    model = models(format_name)
    before, alone = contents(model), output(model)
    patched = stacked(core_merge, model, count)
    output(patched)
    after = contents(patched)
    quantized = [layer for layer in layers if len(before[f"{layer}.weight"]) > 1]
    assert len(quantized) == 4
    for layer in quantized:
        old, new = before[f"{layer}.weight"], after[f"{layer}.weight"]
        assert [part.shape for part in new] == [part.shape for part in old]
        assert not torch.equal(new[1], old[1])
    assert torch.equal(output(model), alone)
    assert same(contents(model), before)


def test_a_merged_weight_is_as_close_as_the_format_allows(format_name, models, layers, output, stacked, added):
    """The error of a patched weight is that of the format with one stochastic rounding: the LoRA is not lost, and what
    had a scale per row still has one."""
    model = models(format_name)
    held = {layer: model.model.diffusion_model.get_submodule(layer).weight for layer in layers}
    weights = {
        layer: weight.dequantize().float() for layer, weight in held.items() if isinstance(weight, QuantizedTensor)
    }
    patched = stacked(our_merge, model, 2)
    output(patched)
    for layer, weight in weights.items():
        wanted = weight + added(layer, torch.eye(weight.shape[1]), 2).T.float()
        got = patched.model.diffusion_model.get_submodule(layer).weight
        nearest = requantized(got, wanted.clone(), scale="recalculate", stochastic_rounding=0)
        assert distance(got.dequantize().float(), wanted) < 2.5 * distance(nearest.dequantize().float(), wanted)
    output(model)


def test_auto_leaves_weights_of_4_bits_alone(format_name, models, layers, plain, output, contents):
    model = models(format_name)
    before = contents(model)
    patched, report = apply_lora(model, plain(), "lora.safetensors")
    output(patched)
    changed = {name for name, parts in contents(patched).items() if not all(map(torch.equal, parts, before[name]))}
    # the time embedding is not quantized in any of the files
    touched = ["time_embedding.2"] if format_name in FEW_BITS else layers
    assert changed == {f"{layer}.weight" for layer in touched}
    how = f"1 tensor merged, {len(layers) - 1} layers bypassed" if format_name in FEW_BITS else "merged"
    why = f"\n{WHY_BESIDE}" if format_name in FEW_BITS else ""
    assert report == f"The whole LoRA is used: lora.safetensors, strength 1 ({how}).{why}"
    output(model)
