"""Which model a file is, and where it belongs."""

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.checkpoints import CheckpointError, open_checkpoint

WAN = {"head.modulation": (1, 2, 8), "blocks.0.self_attn.q.weight": (8, 8), "patch_embedding.weight": (8, 16, 1, 2, 2)}

FLUX = {"double_blocks.0.img_attn.qkv.weight": (24, 8), "single_blocks.0.linear1.weight": (56, 8)}
Z_IMAGE = {"noise_refiner.0.attention.qkv.weight": (24, 8)}


def plain(shapes):
    return {name: torch.zeros(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(
    "shapes,kind,model",
    [
        (WAN, "dit", "Wan 2.1 t2v"),
        ({**WAN, "img_emb.proj.0.bias": (8,)}, "dit", "Wan 2.1 i2v"),
        ({**WAN, "img_emb.proj.0.bias": (8,), "img_emb.emb_pos": (1, 514, 8)}, "dit", "Wan 2.1 flf2v"),
        ({**WAN, "patch_embedding.weight": (8, 36, 1, 2, 2)}, "dit", "Wan 2.2 i2v"),
        ({**WAN, "head.head.weight": (192, 8)}, "dit", "Wan 2.2 5B"),
        ({**WAN, "vace_patch_embedding.weight": (8, 96, 1, 2, 2)}, "dit", "Wan 2.1 VACE"),
        ({"token_embedding.weight": (8, 8), "blocks.0.pos_embedding.embedding.weight": (32, 4)}, "t5", "umt5 encoder"),
        (
            {"shared.weight": (8, 8), "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight": (32, 4)},
            "t5",
            "umt5 encoder",
        ),
        ({"visual.transformer.0.attn.to_qkv.weight": (24, 8)}, "clip_vision", "CLIP ViT vision encoder (XLM-R)"),
        (
            {
                "vision_model.embeddings.class_embedding": (8,),
                "vision_model.encoder.layers.0.self_attn.q_proj.weight": (8, 8),
            },
            "clip_vision",
            "CLIP ViT vision encoder",
        ),
        (
            {"shared.weight": (8, 8), "encoder.block.0.layer.0.layer_norm.weight": (8,)},
            "unknown",
            "a T5 encoder other than umt5",
        ),
        (
            {"blocks.0.attn1.to_q.weight": (8, 8), "condition_embedder.x": (8,), "scale_shift_table": (1, 2, 8)},
            "dit",
            "Wan 2.1 t2v (diffusers names)",
        ),
        ({**FLUX, "txt_in.weight": (8, 4096)}, "dit", "Flux"),
        ({**FLUX, "txt_in.weight": (8, 3584)}, "dit", "LongCat-Image"),
        ({**Z_IMAGE, "layers.0.adaLN_modulation.0.weight": (32, 8)}, "dit", "Z-Image"),
        ({**Z_IMAGE, "layers.0.adaLN_modulation.1.weight": (32, 8)}, "dit", "Lumina 2"),
        ({"diffusion_model.blocks.0.ffn.0.lora_A.weight": (4, 8)}, "unknown", "a LoRA"),
        ({"decoder.conv1.weight": (8, 8, 3, 3, 3), "encoder.conv1.weight": (8, 3, 3, 3, 3)}, "unknown", "a VAE"),
        ({"model.layers.0.self_attn.q_proj.weight": (8, 8)}, "unknown", "a language model"),
        ({"weight": (3,)}, "unknown", "not a model that is known here"),
    ],
)
def test_the_model_is_told_by_its_names(shapes, kind, model, opened):
    checkpoint = opened(plain(shapes))
    assert (checkpoint.kind, checkpoint.model) == (kind, model)
    assert bool(checkpoint.problems) == (kind == "unknown")


def test_another_quantized_model_is_an_unknown_dit(opened):
    name = "some_blocks.0.attn.to_q"
    checkpoint = opened(
        {f"{name}.weight": torch.zeros(8, 8, dtype=torch.int8), f"{name}.weight_scale": torch.ones(8, 1)}
    )
    assert (checkpoint.kind, checkpoint.model) == ("dit", "unknown DiT")
    checkpoint.require("dit")


T5 = "models_t5_umt5-xxl-enc-int8.pth"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-fp8.pth"


@pytest.mark.parametrize(
    "file,kind,words",
    [
        (
            T5,
            "dit",
            r"\(umt5 encoder\) belongs in Load Quantized T5, which lists the files of models/text_encoders. Load",
        ),
        (T5, "clip_vision", "belongs in Load Quantized T5, .*. Load Quantized CLIP takes"),
        (CLIP, "dit", "belongs in Load Quantized CLIP"),
        (CLIP, "t5", "belongs in Load Quantized CLIP"),
        (
            "wan_t2v_fp8.safetensors",
            "t5",
            r"\(Wan 2.1 t2v\) belongs in Load Quantized DiT, .*. Load Quantized T5 takes",
        ),
        ("wan_t2v_int8_blocks", "clip_vision", "belongs in Load Quantized DiT"),
    ],
)
def test_a_file_in_the_wrong_node_is_sent_to_the_right_one(file, kind, words, fixtures):
    with pytest.raises(CheckpointError, match=words) as error:
        open_checkpoint(fixtures / file).require(kind)
    assert str(error.value).startswith(file)


@pytest.mark.parametrize(
    "shapes,kind,words",
    [
        (WAN, "dit", "is not quantized. Load it with ComfyUI's own Load Diffusion Model"),
        (WAN, "t5", "belongs in Load Diffusion Model"),
        (
            {"diffusion_model.blocks.0.ffn.0.lora_A.weight": (4, 8)},
            "dit",
            r"is a LoRA. Put it into models/loras and use Load LoRA \(any format\)",
        ),
        ({"x": (1,)}, "clip_vision", "not a model that is known here"),
    ],
)
def test_an_unquantized_file_is_sent_to_core(shapes, kind, words, opened):
    with pytest.raises(CheckpointError, match=words):
        opened(plain(shapes)).require(kind)


def test_the_first_problem_is_told_and_the_others_counted(wan, opened):
    tensors = {key: tensor for key, tensor in wan().items() if not key.endswith("scale")}
    with pytest.raises(CheckpointError, match=r"weight has no scale.* \(3 more like this: see x2v-quant inspect\.\)$"):
        opened(tensors).require("dit")


def test_an_unquantized_text_encoder_that_core_cannot_read_is_taken(opened):
    shapes = {"token_embedding.weight": (8, 8), "blocks.0.pos_embedding.embedding.weight": (32, 4)}
    checkpoint = opened(plain(shapes))
    checkpoint.require("t5")
    with pytest.raises(CheckpointError, match="belongs in Load Quantized T5, "):
        checkpoint.require("dit")


@pytest.mark.parametrize("wrap", ["generator.{}", "module.{}", "diffusion_model.{}", "_orig_mod.{}"])
def test_what_core_cannot_read_is_not_sent_to_core(wrap, opened):
    with pytest.raises(
        CheckpointError, match=r"make one of it with `x2v-quant convert`, or load ComfyUI's own edition"
    ):
        opened({wrap.format(key): tensor for key, tensor in plain(WAN).items()}).require("dit")


def test_parts_and_nested_tables_are_not_sent_to_core(tmp_path):
    tensors = plain(WAN)
    torch.save({"model": tensors, "step": 3}, tmp_path / "train.pth")
    (tmp_path / "wan").mkdir()
    save_file(tensors, tmp_path / "wan" / "non_block.safetensors")
    save_file({"blocks.0.x": torch.ones(1)}, tmp_path / "wan" / "block_0.safetensors")
    for name in ("train.pth", "wan"):
        with pytest.raises(CheckpointError, match="Pick its int8 or fp8 file here, make one of it"):
            open_checkpoint(tmp_path / name).require("dit")
        with pytest.raises(CheckpointError, match=r"\(Wan 2.1 t2v\) belongs in Load Quantized DiT"):
            open_checkpoint(tmp_path / name).require("t5")


def test_what_core_reads_is_sent_to_core(opened):
    tensors = {f"model.diffusion_model.{key}": tensor for key, tensor in plain(WAN).items()}
    with pytest.raises(CheckpointError, match="Load it with ComfyUI's own Load Diffusion Model"):
        opened(tensors).require("dit")
