"""The layers that are taken of every family's model, exactly."""

import pytest
from older_comfyui import in_core

from x2v_quant.layer_rules import select

ATTENTION = ("q", "k", "v", "o")
WAN_BLOCK = (*(f"{part}_attn.{name}" for part in ("self", "cross") for name in ATTENTION), "ffn.0", "ffn.2")
WAN_IMAGE_BLOCK = (*WAN_BLOCK, "cross_attn.k_img", "cross_attn.v_img")
QWEN_BLOCK = (
    *(f"attn.{name}" for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0")),
    "attn.to_add_out",
    *(f"{stream}_mlp.net.{name}" for stream in ("img", "txt") for name in ("0.proj", "2")),
    *(f"{stream}_mod.1" for stream in ("img", "txt")),
)
LUMINA_PLAIN = ("attention.qkv", "attention.out", "feed_forward.w1", "feed_forward.w2", "feed_forward.w3")
LUMINA_REFINERS = {"context_refiner": (range(2), LUMINA_PLAIN)}
Z_BLOCK = (*LUMINA_PLAIN, "adaLN_modulation.0")
Z_BLOCKS = {"layers": (range(3), Z_BLOCK), "noise_refiner": (range(2), Z_BLOCK), **LUMINA_REFINERS}
LUMINA_BLOCK = (*LUMINA_PLAIN, "adaLN_modulation.1")


def streams(*names):
    return tuple(f"{stream}_{name}" for stream in ("img", "txt") for name in names)


FLUX_DOUBLE = streams("attn.qkv", "attn.proj", "mlp.0", "mlp.2")
FLUX_BLOCKS = {
    "double_blocks": (range(2), (*FLUX_DOUBLE, *streams("mod.lin"))),
    "single_blocks": (range(3), ("linear1", "linear2", "modulation.lin")),
}
UNMODULATED_BLOCKS = {
    "double_blocks": (range(2), FLUX_DOUBLE),
    "single_blocks": (range(3), ("linear1", "linear2")),
}
LTX_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
LTX_FEED = ("net.0.proj", "net.2")
LTX_BLOCK = (*(f"attn{i}.{name}" for i in (1, 2) for name in LTX_ATTENTION), *(f"ff.{name}" for name in LTX_FEED))
LTX_2_BLOCK = (
    *LTX_BLOCK,
    *(f"audio_{name}" for name in LTX_BLOCK),
    *(f"{both}_attn.{name}" for both in ("audio_to_video", "video_to_audio") for name in LTX_ATTENTION),
)
ERNIE_BLOCK = (
    *(f"self_attention.{name}" for name in LTX_ATTENTION),
    *(f"mlp.{name}" for name in ("gate_proj", "up_proj", "linear_fc2")),
)
# block -> what has weights of its own in it
SEEDVR2_BRANCHES = {0: ("vid", "txt"), 1: ("vid", "txt"), 2: ("all",), 3: ("all",)}
SEEDVR2_MLP = ("proj_in_gate", "proj_in", "proj_out")
MINIMAX_BLOCK = ("attn.qkv_proj", "attn.out_proj", "mlp.fc1", "mlp.fc2")
CLIP_BLOCK = (*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2")

# model -> (family, {where the blocks are: (their numbers, the layers of each)})
EXPECTED = {
    "wan t2v": ("Wan", {"blocks": (range(5), WAN_BLOCK)}),
    "wan i2v": ("Wan", {"blocks": (range(5), WAN_IMAGE_BLOCK)}),
    "wan causal": ("Wan", {"blocks": (range(5), WAN_BLOCK)}),
    "wan vace": ("Wan", {"blocks": (range(5), WAN_BLOCK), "vace_blocks": (range(2), WAN_BLOCK)}),
    "wan camera": ("Wan", {"blocks": (range(5), WAN_IMAGE_BLOCK)}),
    "wan s2v": ("Wan", {"blocks": (range(5), WAN_BLOCK)}),
    "wan humo": ("Wan", {"blocks": (range(5), WAN_BLOCK)}),
    "wan animate": ("Wan", {"blocks": (range(5), WAN_IMAGE_BLOCK)}),
    "wan dancer": ("Wan", {"blocks": (range(5), WAN_IMAGE_BLOCK)}),
    "wan scail": ("Wan", {"blocks": (range(5), WAN_IMAGE_BLOCK)}),
    "qwen-image": ("Qwen-Image", {"transformer_blocks": (range(2), QWEN_BLOCK)}),
    "z-image": ("Z-Image (Lumina 2)", Z_BLOCKS),
    "z-image omni": ("Z-Image (Lumina 2)", {**Z_BLOCKS, "siglip_refiner": (range(2), LUMINA_PLAIN)}),
    "z-image pixel": ("Z-Image (Lumina 2)", Z_BLOCKS),
    "lumina 2": (
        "Z-Image (Lumina 2)",
        {"layers": (range(3), LUMINA_BLOCK), "noise_refiner": (range(2), LUMINA_BLOCK), **LUMINA_REFINERS},
    ),
    "hunyuan": ("HunyuanVideo", FLUX_BLOCKS),
    "hunyuan 1.5": ("HunyuanVideo", {"double_blocks": FLUX_BLOCKS["double_blocks"]}),
    "flux": ("Flux", FLUX_BLOCKS),
    "flux 2": ("Flux.2", UNMODULATED_BLOCKS),
    "flux gated": (
        "Flux",
        {
            **FLUX_BLOCKS,
            "double_blocks": (
                range(2),
                streams("attn.qkv", "attn.proj", "mod.lin", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"),
            ),
        },
    ),
    "chroma": ("Flux", UNMODULATED_BLOCKS),
    # blocks 0 and 43 to 47 stay as they are
    "ltx-2": ("LTX-2", {"transformer_blocks": (range(1, 43), LTX_2_BLOCK)}),
    "ltxv": ("LTX-Video", {"transformer_blocks": (range(2), LTX_BLOCK)}),
    "ernie": ("Ernie-Image", {"layers": (range(2), ERNIE_BLOCK)}),
    "minimax-h3": ("MiniMax-H3", {"blocks": (range(2), (*MINIMAX_BLOCK, "adaln_proj.linear"))}),
    "minimax-h3 pruned": ("MiniMax-H3 (pruned)", {"blocks": (range(2), MINIMAX_BLOCK)}),
    "seedvr2": (
        "SeedVR2",
        {
            **{f"blocks.{i}.attn": (("proj_qkv", "proj_out"), names) for i, names in SEEDVR2_BRANCHES.items()},
            **{f"blocks.{i}.mlp": (names, SEEDVR2_MLP) for i, names in SEEDVR2_BRANCHES.items()},
        },
    ),
    "seedvr2 7b": (
        "SeedVR2",
        {
            "blocks": (
                range(2),
                tuple(
                    part.format(name)
                    for part in ("attn.proj_qkv.{}", "attn.proj_out.{}", "mlp.{}.proj_in", "mlp.{}.proj_out")
                    for name in ("vid", "txt")
                ),
            )
        },
    ),
    "umt5": (
        "T5",
        {
            "encoder.block": (
                range(2),
                (
                    *(f"layer.0.SelfAttention.{name}" for name in ATTENTION),
                    *(f"layer.1.DenseReluDense.{name}" for name in ("wi_0", "wi_1", "wo")),
                ),
            )
        },
    ),
    "t5": (
        "T5",
        {
            "encoder.block": (
                range(2),
                (
                    *(f"layer.0.SelfAttention.{name}" for name in ATTENTION),
                    *(f"layer.1.DenseReluDense.{name}" for name in ("wi", "wo")),
                ),
            )
        },
    ),
    "clip vision": ("CLIP vision", {"vision_model.encoder.layers": (range(2), CLIP_BLOCK)}),
    "clip text": ("CLIP text", {"text_model.encoder.layers": (range(2), CLIP_BLOCK)}),
    "qwen2.5-vl": (
        "language model",
        {
            "model.layers": (
                range(2),
                (
                    *(f"self_attn.{name}_proj" for name in ATTENTION),
                    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
                ),
            )
        },
    ),
}


@pytest.mark.parametrize("name", in_core(EXPECTED))
def test_exactly_the_linear_layers_of_the_blocks_are_taken(name, core_model):
    family, blocks = EXPECTED[name]
    model = core_model(name)
    selection = select(model.layers, model.names, "int8-channel")
    expected = {f"{where}.{i}.{part}" for where, (numbers, parts) in blocks.items() for i in numbers for part in parts}
    assert selection.family == family
    assert set(selection.formats) == expected
    assert expected <= model.linear
    assert set(selection.formats.values()) == {"int8-channel"}


@pytest.mark.parametrize("name", in_core(EXPECTED))
def test_every_layer_is_in_one_of_the_two_and_in_order(name, core_model):
    model = core_model(name)
    selection = select(model.layers, model.names, "fp8-channel")
    assert [layer for layer in model.layers if layer in selection.formats] == list(selection.formats)
    assert [layer for layer in model.layers if layer not in selection.formats] == list(selection.kept)
    assert all(selection.kept.values())


@pytest.mark.parametrize(
    "name,layer,reason",
    in_core(
        [
            ("wan i2v", "head.head", "output layer"),
            ("wan i2v", "time_projection.1", "projects an input"),
            ("wan i2v", "img_emb.proj.1", "embeds an input"),
            ("wan vace", "vace_blocks.0.before_proj", "joins VACE"),
            ("wan animate", "motion_encoder.enc.fc.0", "not by a linear layer"),
            ("wan s2v", "trainable_cond_mask", "embedding"),
            ("wan humo", "blocks.0.audio_cross_attn_wrapper.audio_cross_attn.q", "audio adapter"),
            ("wan s2v", "audio_injector.injector.0.q", "audio adapter"),
            ("wan dancer", "music_encoder.0.linear1", "music adapter"),
            ("wan animate", "face_adapter.fuser_blocks.0.linear1_kv", "face adapter"),
            ("z-image pixel", "dec_net.res_blocks.0.mlp.0", "pixel decoder"),
            ("hunyuan 1.5", "vision_in.proj.1", "prepares the picture"),
            ("flux", "final_layer.linear", "is an output layer"),
            ("flux", "txt_in", "embeds an input"),
            ("flux", "guidance_in.in_layer", "embeds an input"),
            ("chroma", "distilled_guidance_layer.layers.0.in_layer", "modulation of every block"),
            ("qwen-image", "norm_out.linear", "norm"),
            ("qwen-image", "proj_out", "the rules for Qwen-Image"),
            ("z-image", "final_layer.linear", "only files in LightX2V's dialect"),
            ("hunyuan", "txt_in.individual_token_refiner.blocks.0.mlp.0", "prepares the text"),
            ("flux 2", "double_stream_modulation_img.lin", "only files in LightX2V's dialect"),
            ("ltx-2", "transformer_blocks.0.attn1.to_q", "0, 43 to 47"),
            ("ltx-2", "transformer_blocks.47.ff.net.2", "0, 43 to 47"),
            ("ltx-2", "transformer_blocks.1.attn1.to_gate_logits", "gate"),
            ("ernie", "adaLN_modulation.1", "modulates every block"),
            ("ernie", "final_norm.linear", "only files in LightX2V's dialect"),
            ("minimax-h3", "token_refiner.blocks.0.mlp.fc1", "prepares the text"),
            ("minimax-h3", "final_layer.adaln_proj.linear", "is an output layer"),
            ("minimax-h3", "condition_proj", "the rules for MiniMax-H3"),
            ("minimax-h3 pruned", "blocks.0.adaln_proj.linear", "float32"),
            ("seedvr2", "vid_out.proj", "is an output layer"),
            ("seedvr2", "txt_in", "projects an input"),
            ("umt5", "shared", "embedding"),
            ("umt5", "encoder.block.0.layer.0.SelfAttention.relative_attention_bias", "embedding"),
            ("clip vision", "visual_projection", "the rules for CLIP vision"),
            ("qwen2.5-vl", "visual.blocks.0.attn.qkv", "picture encoder"),
        ]
    ),
)
def test_the_reason_for_keeping_a_layer_is_said(name, layer, reason, core_model):
    model = core_model(name)
    assert reason in select(model.layers, model.names, "int8-channel").kept[layer]


@pytest.mark.parametrize(
    "bundle,family",
    [
        ({"clip_l.transformer.": "clip text", "t5xxl.transformer.": "t5"}, "T5 + CLIP text"),
        ({"qwen25_7b.transformer.": "qwen2.5-vl", "byt5_small.transformer.": "umt5"}, "T5 + language model"),
        ({"umt5xxl.transformer.": "umt5"}, "T5"),
    ],
)
def test_of_a_bundle_of_encoders_all_are_taken(bundle, family, core_model):
    layers, names, expected = {}, (), set()
    for prefix, name in bundle.items():
        part = core_model(name)
        alone = select(part.layers, part.names, "int8-channel").formats
        expected |= {f"{prefix}{layer}" for layer in alone}
        layers |= part.renamed(prefix).layers
        names += part.renamed(prefix).names
    selection = select(layers, names, "int8-channel")
    assert selection.family == family
    assert set(selection.formats) == expected
