"""Original names -> ComfyUI's, checked against ComfyUI's own modules."""

import pytest
import torch

from x2v_quant.checkpoints import CheckpointError, open_checkpoint, read_outline
from x2v_quant.common.row_slice import RowSlice

T5 = "models_t5_umt5-xxl-enc-{}.pth"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14-{}.pth"
both = pytest.mark.parametrize("word", ["int8", "fp8"])


def under_our_names(weights):
    """Name -> shape, of plain and quantized weights."""
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.plain.items()}
    return shapes | {f"{layer}.weight": stored.shape for layer, stored in weights.quantized.items()}


@both
def test_t5_names_and_shapes_are_those_of_comfyui(word, fixtures):
    import comfy.ops
    import comfy.text_encoders.t5

    config = {"num_layers": 3, "d_model": 64, "d_kv": 16, "num_heads": 4, "d_ff": 160, "vocab_size": 64}
    config |= {"dense_act_fn": "gelu_pytorch_tanh", "is_gated_act": True, "model_type": "umt5"}
    model = comfy.text_encoders.t5.T5(config, torch.float32, "meta", comfy.ops.manual_cast)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert under_our_names(open_checkpoint(fixtures / T5.format(word)).load()) == wanted


@both
def test_clip_names_and_shapes_are_those_of_comfyui(word, fixtures):
    import comfy.ops
    from comfy.clip_model import CLIPVisionModelProjection

    config = {"num_hidden_layers": 3, "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
    config |= {"hidden_act": "gelu", "model_type": "clip_vision_model", "num_channels": 3, "patch_size": 14}
    config |= {"image_size": 224, "projection_dim": 32}
    model = CLIPVisionModelProjection(config, torch.float32, "meta", comfy.ops.manual_cast)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert under_our_names(open_checkpoint(fixtures / CLIP.format(word)).load()) == wanted


@both
def test_the_gate_of_t5_is_wi_0(word, fixtures):
    """wi_0 goes through the activation, as Wan's gate does: swapped with fc1, every shape would still fit."""
    file = torch.load(fixtures / T5.format(word), weights_only=True)
    quantized = open_checkpoint(fixtures / T5.format(word)).load().quantized
    for ours, theirs in {"wi_0": "gate.0", "wi_1": "fc1", "wo": "fc2"}.items():
        codes = quantized[f"encoder.block.1.layer.1.DenseReluDense.{ours}"].tensors["codes"]
        assert torch.equal(codes.view(torch.uint8), file[f"blocks.1.ffn.{theirs}.weight"].view(torch.uint8))


@both
def test_to_qkv_is_split_by_rows_with_its_scales(word, fixtures):
    file = torch.load(fixtures / CLIP.format(word), weights_only=True)
    checkpoint = open_checkpoint(fixtures / CLIP.format(word))
    weights = checkpoint.load()
    fused = "visual.transformer.2.attn.to_qkv"
    for i, name in enumerate("qkv"):
        layer = f"vision_model.encoder.layers.2.self_attn.{name}_proj"
        rows = slice(64 * i, 64 * (i + 1))
        codes, scale = weights.quantized[layer].tensors.values()
        assert torch.equal(codes.view(torch.uint8), file[f"{fused}.weight"][rows].view(torch.uint8))
        assert torch.equal(scale, file[f"{fused}.weight_scale"][rows].float())
        assert torch.equal(weights.plain[f"{layer}.bias"], file[f"{fused}.bias"][rows])
        assert checkpoint.layers[layer].rows == RowSlice(i, 3)
    assert checkpoint.formats == {f"{word}-channel": 12}


def test_the_other_parts_of_clip(fixtures):
    file = torch.load(fixtures / CLIP.format("int8"), weights_only=True)
    plain = open_checkpoint(fixtures / CLIP.format("int8")).load().plain
    assert torch.equal(plain["visual_projection.weight"], file["visual.head"].t())
    assert plain["visual_projection.weight"].is_contiguous()
    assert torch.equal(plain["vision_model.embeddings.class_embedding"], file["visual.cls_embedding"][0, 0])
    assert torch.equal(plain["vision_model.embeddings.position_embedding.weight"], file["visual.pos_embedding"][0])
    assert {t.dtype for t in plain.values()} == {torch.float16}


def test_the_text_tower_is_dropped_whatever_it_holds(fixtures, opened):
    file = torch.load(fixtures / CLIP.format("int8"), weights_only=True)
    extra = {"textual.x.weight": torch.zeros(4, 4, dtype=torch.int8), "textual.x.comfy_quant": torch.zeros(3).byte()}
    checkpoint = opened({**file, **extra})
    checkpoint.require("clip_vision")
    assert not any("textual" in name or "log_scale" in name for name in checkpoint.load().plain)


def test_names_that_are_comfyuis_already_are_left(fixtures, opened):
    for file, kind in ((T5, "t5"), (CLIP, "clip_vision")):
        weights = open_checkpoint(fixtures / file.format("int8")).load()
        tensors = {name: tensor.contiguous() for name, tensor in weights.plain.items()}
        for layer, stored in weights.quantized.items():
            codes, scale = stored.tensors.values()
            tensors |= {f"{layer}.weight": codes.contiguous(), f"{layer}.weight_scale": scale.clone()}
        checkpoint = opened(tensors)
        checkpoint.require(kind)
        assert under_our_names(checkpoint.load()) == under_our_names(weights)


def test_the_tokenizer_is_taken_out(fixtures, opened):
    file = torch.load(fixtures / T5.format("int8"), weights_only=True)
    checkpoint = opened({**file, "spiece_model": torch.arange(9, dtype=torch.uint8)})
    checkpoint.require("t5")
    weights = checkpoint.load()
    assert weights.spiece_model.tolist() == list(range(9))
    assert "spiece_model" not in weights.plain
    assert open_checkpoint(fixtures / T5.format("int8")).load().spiece_model is None


def test_two_ways_of_naming_in_one_file_are_refused(fixtures, opened):
    file = torch.load(fixtures / T5.format("int8"), weights_only=True)
    (problem,) = opened({**file, "shared.weight": file["token_embedding.weight"].clone()}).problems
    assert "is the same tensor as" in problem.cause


def test_rows_that_do_not_make_three_layers_are_refused(fixtures, opened):
    file = torch.load(fixtures / CLIP.format("int8"), weights_only=True)
    name = "visual.transformer.1.attn.to_qkv"
    file |= {f"{name}.{end}": file[f"{name}.{end}"][:-1].contiguous() for end in ("weight", "weight_scale")}
    (problem,) = opened(file).problems
    assert problem.key == f"{name}.weight"
    assert "do not make 3 layers" in problem.cause


def test_an_embedding_in_int4_is_refused(fixtures, opened):
    file = torch.load(fixtures / T5.format("int8"), weights_only=True)
    file["token_embedding.weight"] = torch.zeros(64, 64, dtype=torch.uint8)
    file["token_embedding.weight_scale"] = torch.ones(64, 1)
    (problem,) = opened(file).problems
    assert problem.cause == "is a quantized embedding"


def test_embeddings_with_a_scale_become_bfloat16(fixtures, opened):
    """umt5's tokens and the positions of its blocks, fp8 or int8, by row or with one scale."""
    file = torch.load(fixtures / T5.format("fp8"), weights_only=True)
    wanted = {}
    for name, dtype in (("token_embedding", torch.int8), ("blocks.0.pos_embedding.embedding", torch.float8_e4m3fn)):
        codes = (file[f"{name}.weight"].float() * 50).clamp(-100, 100).to(dtype)
        file[f"{name}.weight"] = codes
        file[f"{name}.weight_scale"] = torch.full((len(codes), 1), 0.02)
        wanted[name] = (codes.float() * 0.02).to(torch.bfloat16)
    checkpoint = opened(file)
    checkpoint.require("t5")
    assert "2 quantized embeddings become bfloat16 at load" in checkpoint.aloud
    plain = checkpoint.load().plain
    assert torch.equal(plain["shared.weight"], wanted["token_embedding"])
    positions = plain["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    assert torch.equal(positions, wanted["blocks.0.pos_embedding.embedding"])
    assert read_outline(checkpoint).problems == []
    file["token_embedding.weight_scale"][3] = float("nan")
    with pytest.raises(CheckpointError, match=r"token_embedding\.weight_scale has a scale that is negative or not a"):
        opened(file).load()
    (problem,) = read_outline(opened(file)).problems
    assert problem.key == "token_embedding.weight_scale"


HF_T5 = ("encoder.embed_tokens", "decoder.embed_tokens", "lm_head")


@pytest.mark.parametrize("there", HF_T5)
@pytest.mark.parametrize("prefix", ["", "text_encoder."])
def test_the_embedding_of_transformers_umt5_has_several_names(there, prefix, opened):
    tensors = {
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight": torch.ones(32, 4),
        "decoder.block.0.layer.0.SelfAttention.q.weight": torch.ones(8, 8),
        f"{there}.weight": torch.full((16, 8), 3.0),
    }
    checkpoint = opened({prefix + key: tensor for key, tensor in tensors.items()})
    plain = checkpoint.load().plain
    assert torch.equal(plain["shared.weight"], tensors[f"{there}.weight"])
    assert not any(name.startswith(("decoder", "lm_head", "encoder.embed")) for name in plain)
    assert any(note.startswith(f"shared is not in the file: {there}, which") for note in checkpoint.notes)


def test_the_shared_embedding_goes_before_its_copies(opened):
    tensors = {
        "encoder.block.1.layer.0.SelfAttention.relative_attention_bias.weight": torch.ones(32, 4),
        "shared.weight": torch.full((16, 8), 3.0),
        "encoder.embed_tokens.weight": torch.zeros(16, 8),
    }
    assert torch.equal(opened(tensors).load().plain["shared.weight"], tensors["shared.weight"])
