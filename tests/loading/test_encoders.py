"""Load Quantized T5 and Load Quantized CLIP against core's own encoders with the unquantized weights."""

import re

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance

from x2v_quant.benchmarks import encoders
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.linear import QuantLinear
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.schemes import SchemeChoice
from x2v_quant.schemes.verdict import verdict

pytestmark = pytest.mark.usefixtures("inference")
# relative error of a small random encoder's output; weights and activations both lose precision
KINDS = {"int8": 0.03, "fp8": 0.06}
every_kind = pytest.mark.parametrize("kind", KINDS)
# what 64 or 320 columns, and rows of a fused to_qkv, can be held in
T5_KINDS = {**KINDS, "fp8-tensor": 0.08, "block128": 0.06, "mxfp8": 0.08, "nvfp4": 0.3, "int4": 0.3, "int4-gptq": 0.3}
CLIP_KINDS = {**KINDS, "fp8-tensor": 0.1, "int4": 0.3}
WIDTH = 64


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """A LightX2V model folder: quantized umt5 files, the tokenizer where LightX2V keeps it, and the dense weights."""
    folder = tmp_path_factory.mktemp("t5")
    (folder / "google" / "umt5-xxl").mkdir(parents=True)
    spiece = encoders.spiece_model(1)
    (folder / "google" / "umt5-xxl" / "spiece.model").write_bytes(spiece)
    dense = encoders.umt5(1, encoders.pieces(spiece), WIDTH)
    for kind in T5_KINDS:
        torch.save(quantized(dense, kind, "t5"), folder / f"models_t5_umt5-xxl-enc-{kind}.pth")
    return folder, dense


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    dense = encoders.clip_vision(1, width=320, mlp=320, blocks=3)
    dense["textual.token_embedding.weight"] = torch.zeros(4, 4)
    for kind in CLIP_KINDS:
        torch.save(quantized(dense, kind, "clip"), folder / f"clip-{kind}.pth")
    return folder, dense


def reference_t5(dense):
    """Core's T5 with the dense weights, renamed here once more by hand."""
    import comfy.ops
    import comfy.text_encoders.t5

    config = {
        "d_ff": 160, "d_kv": 16, "d_model": WIDTH, "num_heads": 4, "num_layers": 3, "is_gated_act": True,
        "dense_act_fn": "gelu_pytorch_tanh", "model_type": "umt5", "vocab_size": len(dense["token_embedding.weight"]),
    }  # fmt: skip
    model = comfy.text_encoders.t5.T5(config, torch.float32, torch.device("cpu"), comfy.ops.manual_cast)
    words = {"ffn.gate.0": "layer.1.DenseReluDense.wi_0", "ffn.fc1": "layer.1.DenseReluDense.wi_1"}
    words |= {"ffn.fc2": "layer.1.DenseReluDense.wo", "norm1": "layer.0.layer_norm", "norm2": "layer.1.layer_norm"}
    words["pos_embedding.embedding"] = "layer.0.SelfAttention.relative_attention_bias"
    words |= {f"attn.{name}": f"layer.0.SelfAttention.{name}" for name in "qkvo"}
    renamed = {"shared.weight": dense["token_embedding.weight"]}
    renamed["encoder.final_layer_norm.weight"] = dense["norm.weight"]
    for name, tensor in dense.items():
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", name)
        if match:
            renamed[f"encoder.block.{match[1]}.{words[match[2]]}.weight"] = tensor
    model.load_state_dict(renamed, strict=True)
    return model.eval()


def encoded(clip, dense):
    """What a text becomes, and what it becomes in core's T5 with the dense weights."""
    tokens = clip.tokenize("a small red fox runs over the sea")
    ids = [token for token, _ in tokens["umt5xxl"][0]]
    mask = torch.tensor([[1] * (ids.index(1) + 1) + [0] * (len(ids) - ids.index(1) - 1)])
    expected = reference_t5(dense)(torch.tensor([ids]), attention_mask=mask)[0] * mask.unsqueeze(-1)
    return clip.encode_from_tokens(tokens, return_pooled=True)[0], expected


@pytest.mark.parametrize("kind", T5_KINDS)
def test_t5_encodes_like_the_unquantized_encoder(kind, t5):
    folder, dense = t5
    clip = load_t5(str(folder / f"models_t5_umt5-xxl-enc-{kind}.pth"))
    cond, expected = encoded(clip, dense)
    assert cond.dtype == torch.float32
    assert distance(cond, expected) < T5_KINDS[kind]
    assert len(clip.cond_stage_model.x2v_plan.layers) == 3 * 7
    assert distance(clip.encode_from_tokens(clip.tokenize("a dark boat")), expected) > 0.3


def test_an_unquantized_t5_under_lightx2vs_names_loads(t5):
    """Core's own loader cannot read it."""
    folder, dense = t5
    torch.save(dense, folder / "models_t5_umt5-xxl-enc-fp32.pth")
    clip = load_t5(str(folder / "models_t5_umt5-xxl-enc-fp32.pth"), SchemeChoice(compute_dtype="fp32"))
    cond, expected = encoded(clip, dense)
    assert distance(cond, expected) < 1e-4
    assert clip.cond_stage_model.x2v_plan.layers == {}


@every_kind
def test_t5_multiplies_in_low_precision_although_core_feeds_float32(kind, t5, best):
    folder, _ = t5
    clip = load_t5(str(folder / f"models_t5_umt5-xxl-enc-{kind}.pth"))
    layers = [m for m in clip.cond_stage_model.modules() if isinstance(m, QuantLinear) and m.kernel]
    assert len(layers) == 3 * 7
    calls = []
    for layer in layers:
        assert isinstance(layer.weight, QuantizedTensor)
        layer.register_forward_hook(lambda module, inputs, _: calls.append((module.kernel.activation, inputs[0].dtype)))
    clip.encode_from_tokens(clip.tokenize("a boat"))
    assert getattr(layers[0], "comfy_force_cast_weights", False)
    assert set(calls) == {(best(f"{kind}-channel").activation, torch.float32)}
    assert len(calls) == len(layers)


def test_t5_prompt_weights_and_batches(t5):
    folder, _ = t5
    clip = load_t5(str(folder / "models_t5_umt5-xxl-enc-int8.pth"))
    plain = clip.encode_from_tokens(clip.tokenize("a red boat"))
    weighted = clip.encode_from_tokens(clip.tokenize("a (red:1.4) boat"))
    assert plain.shape == weighted.shape
    assert distance(weighted, plain) > 0.01
    encoder = clip.cond_stage_model.umt5xxl.transformer
    single = encoder(torch.tensor([[5, 6, 7, 1]]), None)[0]
    batch = encoder(torch.tensor([[5, 6, 7, 1], [9, 8, 7, 1], [5, 6, 7, 1]]), None)[0]
    torch.testing.assert_close(batch[0], single[0], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(batch[1], batch[0])


def test_t5_round_trips_through_saving(t5, tmp_path):
    """CLIPSave: the file carries the tokenizer and loads again, here and in the other loader's place not at all."""
    import safetensors.torch

    folder, _ = t5
    clip = load_t5(str(folder / "models_t5_umt5-xxl-enc-int8.pth"))
    sd = {k.removeprefix("umt5xxl.transformer."): v.contiguous() for k, v in clip.get_sd().items()}
    sd = {k: v for k, v in sd.items() if not k.endswith("logit_scale")}
    path = tmp_path / "umt5.safetensors"
    safetensors.torch.save_file(sd, path)
    again = load_t5(str(path))
    prompt = "a bright kite"
    assert torch.equal(again.encode_from_tokens(again.tokenize(prompt)), clip.encode_from_tokens(clip.tokenize(prompt)))


def reference_clip(dense):
    """Core's vision encoder with the dense weights, renamed here once more by hand."""
    import comfy.clip_vision

    config = {
        "model_type": "clip_vision_model", "hidden_act": "gelu", "hidden_size": 320, "image_size": 224,
        "patch_size": 14, "intermediate_size": 320, "num_attention_heads": 5, "num_channels": 3, "num_hidden_layers": 3,
        "projection_dim": encoders.CLIP_HEAD,
    }  # fmt: skip
    model = comfy.clip_vision.ClipVisionModel(config)
    sd = {
        "visual_projection.weight": dense["visual.head"].t(),
        "vision_model.embeddings.class_embedding": dense["visual.cls_embedding"][0, 0],
        "vision_model.embeddings.position_embedding.weight": dense["visual.pos_embedding"][0],
        "vision_model.embeddings.patch_embedding.weight": dense["visual.patch_embedding.weight"],
    }
    for part in ("weight", "bias"):
        sd[f"vision_model.pre_layrnorm.{part}"] = dense[f"visual.pre_norm.{part}"]
        sd[f"vision_model.post_layernorm.{part}"] = dense[f"visual.post_norm.{part}"]
        for block in range(3):
            old, new = f"visual.transformer.{block}", f"vision_model.encoder.layers.{block}"
            for name, piece in zip("qkv", dense[f"{old}.attn.to_qkv.{part}"].chunk(3), strict=True):
                sd[f"{new}.self_attn.{name}_proj.{part}"] = piece
            for a, b in (("attn.proj", "self_attn.out_proj"), ("mlp.0", "mlp.fc1"), ("mlp.2", "mlp.fc2"),
                         ("norm1", "layer_norm1"), ("norm2", "layer_norm2")):  # fmt: skip
                sd[f"{new}.{b}.{part}"] = dense[f"{old}.{a}.{part}"]
    missing, unexpected = model.load_sd(sd)
    assert not missing
    assert not unexpected
    return model


@pytest.mark.parametrize("kind", CLIP_KINDS)
@pytest.mark.parametrize("images", [1, 2])
def test_clip_encodes_like_the_unquantized_encoder(kind, images, clip):
    folder, dense = clip
    pictures = torch.rand((images, 240, 260, 3), generator=torch.Generator().manual_seed(0))
    got = load_clip_vision(str(folder / f"clip-{kind}.pth")).encode_image(pictures)
    wanted = reference_clip(dense).encode_image(pictures)
    for name in ("last_hidden_state", "penultimate_hidden_states", "image_embeds"):
        assert got[name].shape == wanted[name].shape
        assert distance(got[name].float(), wanted[name].float()) < CLIP_KINDS[kind]


@pytest.mark.parametrize("names", ["xlm-r", "transformers"])
def test_a_clip_without_its_projection_is_one_for_wan(names, clip, tmp_path):
    """As diffusers' Wan folders have it: the layers that Wan takes are the same, what is not projected is told."""
    folder, _ = clip
    stored = torch.load(folder / "clip-int8.pth", weights_only=True)
    if names == "transformers":
        weights = open_checkpoint(folder / "clip-int8.pth").load()
        stored = dict(weights.plain)
        for layer, held in weights.quantized.items():
            stored[f"{layer}.weight"], stored[f"{layer}.weight_scale"] = held.tensors["codes"], held.tensors["scale"]
    del stored["visual.head" if names == "xlm-r" else "visual_projection.weight"]
    torch.save(stored, tmp_path / "clip.pth")
    pictures = torch.rand((1, 240, 260, 3), generator=torch.Generator().manual_seed(0))
    wanted = load_clip_vision(str(folder / "clip-int8.pth")).encode_image(pictures)
    vision = load_clip_vision(str(tmp_path / "clip.pth"))
    got = vision.encode_image(pictures)
    for name in ("last_hidden_state", "penultimate_hidden_states"):
        assert torch.equal(got[name], wanted[name])
    assert got["image_embeds"].shape == (1, 320)
    assert any("visual_projection.weight is not there" in note for note in vision.model.x2v_plan.notes)


def test_clip_layers_are_all_quantized_and_multiplied_in_low_precision(clip, best):
    vision = load_clip_vision(str(clip[0] / "clip-int8.pth"))
    layers = [m for m in vision.model.modules() if isinstance(m, QuantLinear) and m.kernel]
    assert len(layers) == 3 * 6
    assert {layer.kernel for layer in layers} == {best("int8-channel")}


@pytest.mark.parametrize("key", ["token_embedding.weight", "norm.weight", "blocks.0.norm1.weight"])
def test_an_incomplete_t5_is_refused_by_name(key, t5, tmp_path):
    sd = torch.load(t5[0] / "models_t5_umt5-xxl-enc-int8.pth", weights_only=True)
    del sd[key]
    torch.save(sd, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=r"half\.pth"):
        load_t5(str(tmp_path / "half.pth"), tokenizer=str(t5[0] / "google" / "umt5-xxl"))


@pytest.mark.parametrize("key", ["visual.patch_embedding.weight", "visual.post_norm.bias"])
def test_an_incomplete_clip_is_refused_by_name(key, clip, tmp_path):
    sd = torch.load(clip[0] / "clip-int8.pth", weights_only=True)
    del sd[key]
    torch.save(sd, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=r"half\.pth: .* is missing"):
        load_clip_vision(str(tmp_path / "half.pth"))


@pytest.mark.parametrize("name", ["clip", "t5"])
def test_patchers_can_be_loaded_again(name, t5, clip):
    if name == "t5":
        patcher = load_t5(str(t5[0] / "models_t5_umt5-xxl-enc-int8.pth")).patcher
    else:
        patcher = load_clip_vision(str(clip[0] / "clip-int8.pth")).patcher
    factory, arguments = patcher.cached_patcher_init
    again = factory(*arguments, disable_dynamic=True)
    assert set(again.model.state_dict()) == set(patcher.model.state_dict())


@pytest.mark.parametrize(
    "load,which,node",
    [
        (load_dit, "t5", "Load Quantized T5"),
        (load_dit, "clip", "Load Quantized CLIP"),
        (load_t5, "dit", "Load Quantized DiT"),
        (load_t5, "clip", "Load Quantized CLIP"),
        (load_clip_vision, "t5", "Load Quantized T5"),
        (load_clip_vision, "dit", "Load Quantized DiT"),
    ],
)
def test_the_wrong_loader_names_the_right_one(load, which, node, t5, clip, wan_files):
    paths = {
        "t5": t5[0] / "models_t5_umt5-xxl-enc-fp8.pth",
        "clip": clip[0] / "clip-fp8.pth",
        "dit": wan_files["fp8-channel"][1],
    }
    with pytest.raises(CheckpointError, match=node):
        load(str(paths[which]))


def test_schemes_of_the_encoders(t5, clip):
    choice = SchemeChoice(t5="int8-reference", clip="int8-dequant")
    text = load_t5(str(t5[0] / "models_t5_umt5-xxl-enc-int8.pth"), choice)
    assert text.cond_stage_model.x2v_plan.summary()[0]["kernel"] == "reference"
    vision = load_clip_vision(str(clip[0] / "clip-int8.pth"), choice)
    assert vision.model.x2v_plan.summary()[0]["kernel"] == "dequant"


def test_a_plan_knows_that_its_model_is_an_encoder(t5, clip):
    """So that the report says that it runs only once."""
    text = load_t5(str(t5[0] / "models_t5_umt5-xxl-enc-fp8.pth"), SchemeChoice(t5="fp8-dequant"))
    vision = load_clip_vision(str(clip[0] / "clip-fp8.pth"), SchemeChoice(clip="fp8-dequant"))
    assert "A text encoder runs only once per prompt." in verdict(text.cond_stage_model.x2v_plan)
    assert "CLIP runs only once per picture." in verdict(vision.model.x2v_plan)
