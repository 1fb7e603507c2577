"""The same LoRA in every key form, on every format: what comes out is what core makes of the form that it reads."""

import comfy.lora
import comfy.sd
import pytest
import torch
from distance import distance

from x2v_quant.loras import apply_lora

pytestmark = pytest.mark.usefixtures("inference")

DIFFUSERS = {
    "blocks.0.self_attn.q": "blocks.0.attn1.to_q",
    "blocks.1.cross_attn.o": "blocks.1.attn2.to_out.0",
    "blocks.1.ffn.0": "blocks.1.ffn.net.0.proj",
    "blocks.2.ffn.2": "blocks.2.ffn.net.2",
    "time_embedding.2": "condition_embedder.time_embedder.linear_2",
}
UP_DOWN = {"down": "lora_down.weight", "up": "lora_up.weight", "alpha": "alpha"}
A_B = {"down": "lora_A.weight", "up": "lora_B.weight", "alpha": "alpha"}
PEFT = {"down": "lora_A.default.weight", "up": "lora_B.default.weight", "alpha": "alpha"}


def _flat(layer):
    return layer.replace(".", "_")


def _same(layer):
    return layer


# form -> (prefix, what it calls a layer, its endings, whether core reads it for Wan)
FORMS = {
    "lightx2v": ("diffusion_model.", _same, UP_DOWN, True),
    "a-b": ("diffusion_model.", _same, A_B, True),
    "peft-adapter": ("diffusion_model.", _same, PEFT, True),
    "kohya": ("lora_unet_", _flat, UP_DOWN, True),
    "wan-fun": ("lora_unet__", _flat, UP_DOWN, False),
    "lycoris": ("lycoris_", _flat, UP_DOWN, False),
    "checkpoint": ("model.diffusion_model.", _same, A_B, False),
    "bare": ("", _same, A_B, False),
    "transformer": ("transformer.", _same, UP_DOWN, False),
    "diffsynth": ("pipe.dit.", _same, PEFT, False),
    "peft": ("base_model.model.", _same, A_B, False),
    "diffusers": ("transformer.", DIFFUSERS.get, A_B, False),
    "diffusers-bare": ("", DIFFUSERS.get, PEFT, False),
    "diffusers-flat": ("lycoris_", lambda layer: _flat(DIFFUSERS[layer]), UP_DOWN, False),
}
every_form = pytest.mark.parametrize("form", FORMS)


@pytest.fixture
def file(factors):
    """file(form) -> a LoRA's tensors in that form."""

    def make(form):
        prefix, name, endings, _ = FORMS[form]
        return {
            f"{prefix}{name(layer)}.{endings[part]}": tensor
            for layer, held in factors(seed=3, alpha=2).items()
            for part, tensor in held.items()
        }

    return make


@every_form
@pytest.mark.parametrize("mode", ["merge", "bypass"])
def test_every_form_on_every_format_is_the_same_lora(format_name, form, mode, models, plain, file, output):
    model = models(format_name)
    load = comfy.sd.load_lora_for_models if mode == "merge" else comfy.sd.load_bypass_lora_for_models
    expected, _ = load(model, None, plain(seed=3, alpha=2), 0.8, 0)
    patched, report = apply_lora(model, file(form), "lora.safetensors", 0.8, mode)
    assert _patches(patched) == _patches(expected)
    assert report.startswith("The whole LoRA is used: lora.safetensors, strength 0.8 (") and "\n" not in report


def _patches(patcher):
    """What core is to merge, and what it is to put beside the weights, by place: strength and sums of the numbers."""
    merged = {name: [(p[0], _sums(p[1])) for p in patches] for name, patches in patcher.patches.items()}
    beside = {}
    for injection in patcher.injections.get("bypass_lora", []):
        (manager,) = (cell.cell_contents for cell in injection.inject.__closure__)
        beside |= {name: (strength, _sums(adapter)) for name, (adapter, strength) in manager.adapters.items()}
    assert merged or beside
    return merged, beside


def _sums(adapter):
    up, down, alpha, *_ = adapter.weights
    return up.sum().item(), down.sum().item(), alpha


@every_form
def test_core_alone_reads_these_forms(form, models, file, layers):
    """Why Load LoRA is there; a form that core has learned is to be marked so."""
    known = comfy.lora.model_lora_keys_unet(models("int8-channel").model, {})
    found = comfy.lora.load_lora(comfy.lora_convert.convert_lora(file(form)), known, log_missing=False)
    assert (len(found) == len(layers)) is FORMS[form][3]
    assert len(found) in (0, len(layers))


def test_whole_tensors_of_every_kind_are_added(models, output, original):
    """Weights, norms, biases and the modulation, as LightX2V's distilled LoRAs have them."""
    generator = torch.Generator().manual_seed(0)
    names = {
        "blocks.0.norm3.diff": "blocks.0.norm3.weight",
        "blocks.0.norm3.diff_b": "blocks.0.norm3.bias",
        "blocks.1.self_attn.norm_q.diff": "blocks.1.self_attn.norm_q.weight",
        "blocks.1.ffn.0.diff_b": "blocks.1.ffn.0.bias",
        "blocks.2.diff_m": "blocks.2.modulation",
        "head.diff_m": "head.modulation",
        "patch_embedding.diff": "patch_embedding.weight",
    }
    differences = {key: torch.randn(original[name].shape, generator=generator) * 0.1 for key, name in names.items()}
    model = models("fp8-channel")
    tensors = {f"diffusion_model.{key}": tensor for key, tensor in differences.items()}
    patched, report = apply_lora(model, tensors, "lora.safetensors", 0.5)
    before = {name: p.detach().clone() for name, p in model.model.diffusion_model.named_parameters() if p.ndim != 2}
    output(patched)
    after = dict(patched.model.diffusion_model.named_parameters())
    assert report == "The whole LoRA is used: lora.safetensors, strength 0.5 (merged)."
    for key, name in names.items():
        wanted = before[name].float() + 0.5 * differences[key]
        assert distance(after[name].float(), wanted) < 2**-7
        assert distance(before[name].float(), wanted) > 2**-6
    output(model)
    now = dict(model.model.diffusion_model.named_parameters())
    assert all(torch.equal(now[name], held) for name, held in before.items())


def test_modulations_of_several_loras_add_up(models, output, original):
    model = models("fp8-channel")
    ones = torch.ones(original["blocks.2.modulation"].shape)
    one, _ = apply_lora(model, {"diffusion_model.blocks.2.diff_m": ones}, "lora.safetensors", 0.5)
    two, _ = apply_lora(one, {"blocks.2.scale_shift_table.diff": ones}, "lora.safetensors", 0.25)
    held = model.model.diffusion_model.blocks[2]
    before = held.modulation.float().clone()
    for patcher, added in ((two, 0.75), (one, 0.5), (two, 0.75), (model, 0.0)):
        output(patcher)
        assert distance(held.modulation.float(), before + added) < 2**-7
    assert torch.equal(held.modulation.float(), before)
