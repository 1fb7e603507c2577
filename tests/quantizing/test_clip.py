"""CLIP -> CLIP: core's own text encoders, small ones with trained or random weights."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.layer_rules import RuleError
from x2v_quant.quantizing import quantize_clip, select_in_clip
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
ALLOWED = {"int8-channel": 0.06, "fp8-channel": 0.12}
SMALL_T5 = {"vocab_size": 32128, "d_model": 64, "num_heads": 4, "d_kv": 16, "d_ff": 160, "num_layers": 2}
SMALL_CLIP = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
}


def run(clip, format_name="int8-channel", lines="", choice=None):
    choice = choice or SchemeChoice()
    return quantize_clip(clip, select_in_clip(clip, format_name, lines, choice), choice)


def quantized_layers(clip):
    return {
        name
        for name, module in clip.cond_stage_model.named_modules()
        if isinstance(getattr(module, "weight", None), QuantizedTensor)
    }


@pytest.fixture(scope="module")
def flux():
    """Flux's pair of encoders with random weights; no test changes it."""
    with torch.inference_mode():
        return build()


def build():
    import comfy.sd
    import comfy.text_encoders.flux

    class Target:
        clip = comfy.text_encoders.flux.flux_clip()
        tokenizer = comfy.text_encoders.flux.FluxTokenizer
        params = {}  # noqa: RUF012 - core's CLIP reads it as an attribute and copies it

    options = {"dtype": torch.float32, "t5xxl_model_config": SMALL_T5, "clip_l_model_config": SMALL_CLIP}
    clip = comfy.sd.CLIP(Target, model_options=options)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in clip.cond_stage_model.named_parameters():
        norm = "norm" in name and name.endswith("weight")
        spread = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 and "embed" not in name else 0.1
        values = torch.randn(parameter.shape, generator=generator) * spread
        parameter.data.copy_(torch.ones_like(values) if norm else values)
    return clip


@pytest.mark.parametrize("format_name", ALLOWED)
def test_two_encoders_are_quantized_and_encode_nearly_the_same(format_name, flux):
    made = run(flux, format_name)
    tokens = flux.tokenize("a red fox")
    wanted, pooled = flux.encode_from_tokens(tokens, return_pooled=True)
    got, got_pooled = made.encode_from_tokens(made.tokenize("a red fox"), return_pooled=True)
    assert 0 < distance(got, wanted) < ALLOWED[format_name]
    assert 0 < distance(got_pooled, pooled) < ALLOWED[format_name]
    names = quantized_layers(made)
    assert {
        "clip_l.transformer.text_model.encoder.layers.1.mlp.fc1",
        "t5xxl.transformer.encoder.block.1.layer.1.DenseReluDense.wo",
    } <= names
    assert names == set(made.cond_stage_model.x2v_plan.layers)
    assert not [name for name in names if "embed" in name or "projection" in name]
    assert not quantized_layers(flux)


def test_the_quantized_layers_really_multiply_quantized_though_core_feeds_float32(flux, best):
    made = run(flux)
    calls = []
    for name in quantized_layers(made):
        module = made.cond_stage_model.get_submodule(name)
        module.register_forward_hook(lambda m, inputs, _: calls.append((m.kernel.name, inputs[0].dtype)))
    made.encode_from_tokens(made.tokenize("a boat"))
    assert len(calls) == len(quantized_layers(made))
    assert {dtype for _, dtype in calls} == {torch.float32}
    assert {kernel for kernel, _ in calls} <= {
        e.choice.kernel.name for e in made.cond_stage_model.x2v_plan.layers.values()
    }


def test_lines_mix_formats_across_the_encoders(flux):
    made = run(flux, "int8-channel", "mlp.fc1 = keep\nSelfAttention.q = fp8-channel")
    formats = {name: entry.choice.format for name, entry in made.cond_stage_model.x2v_plan.layers.items()}
    assert not [name for name in formats if name.endswith("mlp.fc1")]
    assert formats["t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.q"] == "fp8-channel"
    assert formats["clip_l.transformer.text_model.encoder.layers.0.self_attn.q_proj"] == "int8-channel"


def test_a_line_for_a_layer_that_no_encoder_has_is_refused(flux):
    with pytest.raises(RuleError, match="matches no layer"):
        run(flux, "int8-channel", "ffn.7 = keep")


def test_a_lora_on_the_encoder_is_baked_in_and_the_clip_stays_what_it_was(flux, contents, same):
    key = "t5xxl.transformer.encoder.block.0.layer.0.SelfAttention.v.weight"
    before = contents(flux.cond_stage_model)
    patched = flux.clone()
    patched.add_patches({key: ("diff", (torch.ones(64, 64),))}, 1.0)
    patched.clip_layer(-2)
    made = run(patched)
    assert made.layer_idx == -2
    assert made.tokenizer is flux.tokenizer
    assert not made.patcher.patches
    assert patched.patcher.patches.keys() == {key}
    v = made.cond_stage_model.t5xxl.transformer.encoder.block[0].layer[0].SelfAttention.v
    wanted = before[key] + 1
    assert distance(v.weight.dequantize().float(), wanted) < 0.02
    assert same(contents(flux.cond_stage_model), before)
    made.encode_from_tokens(made.tokenize("a boat"))
    assert same(contents(flux.cond_stage_model), before)


def test_it_can_be_loaded_anew(flux, contents, same):
    loads = []

    def load(disable_dynamic=False):
        loads.append(disable_dynamic)
        return flux.clone().patcher

    source = flux.clone()
    source.patcher.cached_patcher_init = (load, ())
    made = run(source)
    factory, arguments = made.patcher.cached_patcher_init
    again = factory(*arguments, disable_dynamic=True)
    assert loads == [True]
    assert again.model is not made.cond_stage_model
    assert same(contents(again.model), contents(made.cond_stage_model))
