"""Every key format leads to the layer that it was made from."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.loras import LoRATargets, split_key

# Wan's name in a block -> diffusers'
NAMES = {
    "self_attn.q": "attn1.to_q",
    "self_attn.o": "attn1.to_out.0",
    "self_attn.norm_k": "attn1.norm_k",
    "cross_attn.k": "attn2.to_k",
    "cross_attn.v_img": "attn2.add_v_proj",
    "cross_attn.norm_k_img": "attn2.norm_added_k",
    "norm3": "norm2",
    "ffn.0": "ffn.net.0.proj",
    "ffn.2": "ffn.net.2",
    "modulation": "scale_shift_table",
}
OUTSIDE = {
    "time_embedding.0": "condition_embedder.time_embedder.linear_1",
    "text_embedding.2": "condition_embedder.text_embedder.linear_2",
    "time_projection.1": "condition_embedder.time_proj",
    "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
    "patch_embedding": "patch_embedding",
    "head.head": "proj_out",
    "head.modulation": "scale_shift_table",
}
BLOCKS = 40
LAYERS = {
    **OUTSIDE,
    **{f"blocks.{b}.{wan}": f"blocks.{b}.{diffusers}" for b in range(BLOCKS) for wan, diffusers in NAMES.items()},
}
DOTTED = (
    "",
    "diffusion_model.",
    "model.diffusion_model.",
    "transformer.",
    "unet.",
    "pipe.dit.",
    "base_model.model.",
    "base_model.model.transformer.",
    "module.",
    "_orig_mod.",
    "net.",
    "model.",
    "model.net.",
    "transformer_2.",
    "diffusion_model.transformer_1.",
    "diffusion_model.transformer_2.",
    "high_noise.",
    "LOW.",
    "unet_high_noise.",
    "low_noise_dit.",
    "module._orig_mod.transformer_2.",
    "transformer.module._orig_mod.",
    "_orig_mod.module.model.diffusion_model.",
    "net.base_model.model.",
    "model.model.model.",
    "generator.model.",
    "_orig_mod._fsdp_wrapped_module.",
    "lora_unet_",
    "lycoris_",
)
FLAT = (
    *(
        "lora_unet_",
        "lora_unet__",
        "lycoris_",
        "lora_transformer_",
        "lora_transformer_2_",
        "lora_transformer__orig_mod_",
    ),
    *("module.lora_unet_", "diffusion_model.lora_unet_", "transformer_2_", "net_", "lora_"),
)
# behind a name without dots, and what training leaves in the middle of one with dots
TRAILING = ("", "_", "__")
AROUND = ("", "_checkpoint_wrapped_module.", "_orig_mod.", "_fsdp_wrapped_module._checkpoint_wrapped_module.")
# ending of the file -> suffix as core spells it
ENDINGS = {
    "lora_up.weight": "lora_up.weight",
    "lora_down.weight": "lora_down.weight",
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_A.default.weight": "lora_down.weight",
    "lora_B.high_noise.weight": "lora_up.weight",
    "lora_A": "lora_down.weight",
    "lora_down": "lora_down.weight",
    "lora_up.default.weight": "lora_up.weight",
    "lora_a.weight": "lora_down.weight",
    "lora_b": "lora_up.weight",
    "lora_alpha": "alpha",
    "lora_B": "lora_up.weight",
    "lora_B.bias": "diff_b",
    "lora_B.default.bias": "diff_b",
    "lora.up.weight": "lora_up.weight",
    "lora_linear_layer.down.weight": "lora_down.weight",
    "lora_magnitude_vector": "dora_scale",
    "lora_magnitude_vector.default.weight": "dora_scale",
    "lora_mid.weight": "lora_mid.weight",
    "alpha": "alpha",
    "dora_scale": "dora_scale",
    "diff": "diff",
    "diff_b": "diff_b",
    "hada_w1_a": "hada_w1_a",
    "lokr_w2_b": "lokr_w2_b",
    "lokr_w1": "lokr_w1",
}


def tensor_name(layer):
    return layer if layer.endswith("modulation") else f"{layer}.weight"


TARGETS = LoRATargets({tensor_name(layer): None for layer in LAYERS}, "diffusion_model.")


@given(
    st.sampled_from(sorted(LAYERS)),
    st.booleans(),
    st.sampled_from(DOTTED + FLAT),
    st.sampled_from(TRAILING),
    st.sampled_from(AROUND),
    st.sampled_from(sorted(ENDINGS)),
)
def test_every_form_comes_back(layer, diffusers, prefix, trailing, around, ending):
    name = LAYERS[layer] if diffusers else layer
    name = re.sub(r"(?<=blocks\.\d)\.", f".{around}", name)
    name = f"{name.replace('.', '_')}{trailing}" if prefix in FLAT else name
    found, suffix = split_key(f"{prefix}{name}.{ending}")
    assert suffix == ENDINGS[ending]
    assert TARGETS.find(found) == f"diffusion_model.{tensor_name(layer)}"


@pytest.mark.parametrize("prefix", DOTTED)
@pytest.mark.parametrize("layer", ["blocks.7", "head"])
def test_diff_m_is_for_the_modulation(prefix, layer):
    found, suffix = split_key(f"{prefix}{layer}.diff_m")
    assert (TARGETS.find(found), suffix) == (f"diffusion_model.{layer}.modulation", "diff")


@pytest.mark.parametrize("key", ["blocks.0.ffn.0.weight", "blocks.0.ffn.0.weight_scale", "lora_up.weight", "alpha", ""])
def test_what_is_no_tensor_of_a_lora(key):
    assert split_key(key) is None


@given(st.text(st.sampled_from("abklorqv._0127"), max_size=40))
def test_a_name_that_the_model_does_not_have_is_not_found(name):
    stripped = name.replace(".", "_")
    found = TARGETS.find(name)
    assert found is None or any(
        stripped.endswith(key_format.replace(".", "_")) for pair in LAYERS.items() for key_format in pair
    )


@pytest.mark.parametrize(
    "asked,nearest",
    [
        ("diffusion_model.blocks.3.self_attn.qq", "blocks.3.self_attn.q"),
        ("lora_unet_blocks_3_fn_0", "blocks.3.ffn.0"),
        ("model.diffusion_model.blocks.3.cros_attn.kk", "blocks.3.cross_attn.k"),
    ],
)
def test_the_nearest_layer(asked, nearest):
    assert TARGETS.nearest(asked) == nearest


def test_what_core_knows_comes_first():
    targets = LoRATargets({"double.qkv.weight": (6, 2)}, "m.", {"odd.to_q": ("m.double.qkv.weight", (0, 0, 2))})
    assert targets.find("odd.to_q") == ("m.double.qkv.weight", (0, 0, 2))
    assert targets.find("odd.to_k") is None


@pytest.mark.parametrize("layer", ["transformer_blocks.0.attn1.to_q", "lora_unet_down_blocks_0_attn1_to_q"])
def test_a_layer_of_another_model_is_not_found(layer):
    assert TARGETS.find(layer) is None
