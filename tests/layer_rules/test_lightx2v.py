"""The layers that LightX2V's converter quantized in the files that it wrote are those that the rules take."""

from pathlib import Path

import pytest

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.layer_rules import select
from x2v_quant.layer_rules.family_rules import lightx2v_also

FIXTURES = Path(__file__).parent.parent / "fixtures"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14"
FILES = {
    "wan_t2v_int8_blocks": ("Wan", 20),
    "wan_t2v_fp8.safetensors": ("Wan", 10),
    "models_t5_umt5-xxl-enc-int8.pth": ("T5", 21),
    "models_t5_umt5-xxl-enc-fp8.pth": ("T5", 21),
    f"{CLIP}-int8.pth": ("CLIP vision", 12),
    f"{CLIP}-fp8.pth": ("CLIP vision", 12),
}


@pytest.mark.parametrize("name", FILES)
def test_the_rules_take_what_the_converter_quantized(name):
    family, count = FILES[name]
    tensors = open_checkpoint(FIXTURES / name).tensors
    weights = {key.removesuffix(".weight"): info for key, info in tensors.items() if key.endswith(".weight")}
    layers = {layer: info.shape for layer, info in weights.items() if len(info.shape) == 2}
    quantized = {layer for layer in layers if f"{layer}.weight_scale" in tensors}
    assert len(quantized) == count
    selection = select(layers, tensors, "int8-channel")
    assert selection.family == family
    assert set(selection.formats) == quantized


Z_IMAGE = ("layers.0.adaLN_modulation.0", "noise_refiner.0.attention.to_k", "layers.0.attention.to_q")
FLUX_2 = ("transformer_blocks.0.attn.add_q_proj", "single_transformer_blocks.0.attn.to_qkv_mlp_proj")
STREAMS = ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")
ALSO = {
    "z-image": (
        (*Z_IMAGE, "all_x_embedder.2-1", "cap_embedder.1", "t_embedder.mlp.0"),
        ("all_final_layer.2-1.linear", "all_final_layer.2-1.adaLN_modulation.1"),
    ),
    "flux 2": (
        FLUX_2,
        (
            *(f"{name}.linear" for name in (*STREAMS, "norm_out")),
            *(f"time_guidance_embed.{name}_embedder.linear_{i}" for name in ("timestep", "guidance") for i in (1, 2)),
            "x_embedder",
            "context_embedder",
            "proj_out",
        ),
    ),
    "longcat": (
        (
            "transformer_blocks.0.norm1.linear",
            "transformer_blocks.0.attn.add_q_proj",
            "single_transformer_blocks.0.proj_mlp",
        ),
        (
            *("x_embedder", "context_embedder", "norm_out.linear", "proj_out"),
            *(f"time_embed.timestep_embedder.linear_{i}" for i in (1, 2)),
        ),
    ),
    "ernie": (
        ("layers.0.self_attention.to_q", "layers.0.mlp.linear_fc2", "layers.0.adaLN_sa_ln"),
        (
            *("text_proj", "adaLN_modulation.1", "final_norm.linear", "final_linear"),
            *(f"time_embedding.linear_{i}" for i in (1, 2)),
        ),
    ),
    "flux": (
        ("transformer_blocks.0.attn.add_q_proj", "single_transformer_blocks.0.proj_mlp", "x_embedder", "proj_out"),
        (),
    ),
    "qwen-image": (
        ("transformer_blocks.0.img_mod.1", "transformer_blocks.0.attn.add_q_proj", "img_in", "proj_out"),
        (),
    ),
}


@pytest.mark.parametrize("model", ALSO)
def test_what_its_engine_multiplies_quantized_beyond_the_rules(model):
    """The modules of LightX2V's engine that are made of its quantized classes, and those that are not."""
    others, also = ALSO[model]
    layers = dict.fromkeys((*others, *also), (128, 128))
    names = [f"{layer}.weight" for layer in layers]
    assert set(lightx2v_also(names)) == set(also)
    kept = select(layers, names, "int8-channel").kept
    assert set(also) <= set(kept)
    assert all("only files in LightX2V's dialect" in kept[layer] for layer in also)
