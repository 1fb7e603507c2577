"""Every kind of adapter in a quantized model: what core computes in its own, or a line that says why not."""

import logging
import re

import pytest
import torch
from distance import distance

from x2v_quant.loras import LoRAError, apply_lora

pytestmark = pytest.mark.usefixtures("inference")
NAME, LAYER, SOUND = "lora.safetensors", "diffusion_model.blocks.1.ffn.0", "diffusion_model.blocks.0.ffn.0"


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.1


UP, DOWN = drawn(512, 4), drawn(4, 128)
PEFT = {"lora_B.weight": UP, "lora_A.weight": DOWN}
LOHA = {f"hada_w{i}_{p}": UP * 2 if p == "a" else DOWN * 2 for i in "12" for p in "ab"}
LOKR = {"lokr_w1": drawn(4, 4), "lokr_w2": drawn(128, 32)}
GLORA = {"a1.weight": drawn(128, 4), "a2.weight": drawn(4, 128), "b1.weight": UP, "b2.weight": DOWN}
OLD_GLORA = {"a1.weight": drawn(4, 128), "a2.weight": drawn(128, 4), "b1.weight": DOWN, "b2.weight": UP}
KINDS = {
    "lora": PEFT,
    "kernels of one": {"lora_up.weight": UP[..., None, None], "lora_down.weight": DOWN[..., None, None]},
    "in the middle": {
        "lora_up.weight": UP[..., None, None],
        "lora_down.weight": DOWN[..., None, None],
        "lora_mid.weight": torch.eye(4)[..., None, None],
    },
    "mixed types": {"lora_up.weight": UP.to(torch.float8_e5m2), "lora_down.weight": DOWN.half()},
    "alpha in fp16": PEFT | {"alpha": torch.tensor(2.0, dtype=torch.float16)},
    "alpha in fp8": PEFT | {"alpha": torch.tensor([2.0]).to(torch.float8_e4m3fn)},
    "whole alpha": PEFT | {"alpha": torch.tensor(2)},
    "bias and alpha": PEFT | {"alpha": torch.tensor(2.0), "lora_B.bias": drawn(512)},
    "dora of rows": PEFT | {"dora_scale": drawn(512, 1) + 1},
    "dora of columns": PEFT | {"dora_scale": drawn(1, 128) + 1},
    "peft's dora": PEFT | {"lora_magnitude_vector": drawn(512) + 1},
    "both names of a dora": PEFT | {"lora_magnitude_vector": drawn(512) + 1, "dora_scale": drawn(512)[:, None] + 1},
    "loha": LOHA,
    "lokr": LOKR,
    "lokr of ai-toolkit": LOKR | {"alpha": torch.tensor(9999999999.0)},
    "lokr of ai-toolkit in fp16": LOKR | {"alpha": torch.tensor(9999999999.0).half()},
    "lokr in factors": {"lokr_w1": drawn(4, 4) * 4, "lokr_w2_a": drawn(128, 2) * 4, "lokr_w2_b": drawn(2, 32)},
    "glora": GLORA,
    "glora and alpha": GLORA | {"alpha": torch.tensor(2.0)},
    "old glora": OLD_GLORA,
    "oft": {"oft_blocks": drawn(128, 4, 4)},
    "oft with a constraint": {"oft_blocks": drawn(128, 4, 4), "alpha": torch.tensor(0.1)},
    "boft": {"oft_blocks": drawn(2, 128, 4, 4)},
    "diff": {"diff": drawn(512, 128), "diff_b": drawn(512)},
    "set": {"set_weight": drawn(512, 128)},
}
CONVOLUTION = {
    "lora": {"lora_up.weight": drawn(128, 4, 1, 1, 1), "lora_down.weight": drawn(4, 16, 1, 2, 2)},
    "matrices": {"lora_up.weight": drawn(128, 4), "lora_down.weight": drawn(4, 64)},
    "lokr": {"lokr_w1": drawn(4, 4), "lokr_w2": drawn(32, 4, 1, 2, 2)},
    "loha": {f"hada_w{i}_{p}": drawn(128, 4) if p == "a" else drawn(4, 64) for i in "12" for p in "ab"},
}


def file(held, layer=LAYER):
    return {f"{layer}.{suffix}": tensor for suffix, tensor in held.items()}


@pytest.mark.parametrize("mode", ["merge", "bypass"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantized_model_does_what_cores_own_does(kind, mode, models, dequantized, output, caplog):
    """To what requantizing the one layer adds; core writes an error to its log and goes on where it cannot compute."""
    model = models("int8-channel")
    tensors = file(KINDS[kind])
    patched, report = apply_lora(model, tensors, NAME, 1.0, mode)
    dense = dequantized(model)
    wanted = output(apply_lora(dense, tensors, NAME, 1.0, "merge")[0])
    effect = distance(output(dense), wanted)
    found = output(patched)
    assert effect > 1e-3
    assert distance(found, wanted) < max(0.1 * effect, 3e-3)
    whole = kind != "both names of a dora"
    assert report.splitlines()[0].startswith("The whole LoRA is used: " if whole else "Most of it is used (")
    assert ("not used" in report) is not whole
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    output(model)


@pytest.mark.parametrize("mode", ["merge", "bypass"])
@pytest.mark.parametrize("kind", CONVOLUTION)
def test_a_convolution(kind, mode, models, output):
    """By the formula, which core has for two dimensions only where the factors are kernels."""
    held = CONVOLUTION[kind]
    flat = [tensor.flatten(1) for tensor in held.values()]
    added = {
        "lora": lambda: flat[0] @ flat[1],
        "matrices": lambda: flat[0] @ flat[1],
        "lokr": lambda: torch.kron(flat[0], flat[1]),
        "loha": lambda: (flat[0] @ flat[1]) * (flat[2] @ flat[3]),
    }[kind]()
    model = models("int8-channel")
    layer = "diffusion_model.patch_embedding"
    found = output(apply_lora(model, file(held, layer), NAME, 1.0, mode)[0])
    shape = model.model.diffusion_model.patch_embedding.weight.shape
    wanted = output(apply_lora(model, {f"{layer}.diff": added.reshape(shape)}, NAME, 1.0, "merge")[0])
    assert distance(found, wanted) < 0.05 * distance(output(model), wanted)
    output(model)


WRONG = {
    "rank 0": ({"lora_B.weight": torch.zeros(512, 0), "lora_A.weight": torch.zeros(0, 128)}, "its rank is 0"),
    "no values": (
        {"lora_B.weight": torch.zeros(0), "lora_A.weight": torch.zeros(0)},
        "rank 1, lora_down.weight rank 0",
    ),
    "empty diff": ({"diff": torch.zeros(0, 128)}, r"is for a tensor of \[0, 128\]"),
    "loha's rows": (
        LOHA | {"hada_w2_a": drawn(256, 4)},
        r"first two factors make \[512, 128\], its other two \[256, 128\]",
    ),
    "loha's columns": (LOHA | {"hada_w2_b": drawn(4, 64)}, r"its other two \[512, 64\]"),
    "loha's rank": (LOHA | {"hada_w2_b": drawn(3, 128)}, "hada_w2_a has rank 4, hada_w2_b rank 3"),
    "glora": (GLORA | {"a1.weight": drawn(64, 4)}, r"factors are \[64, 4\].* do not go together"),
    "oft's rows": ({"oft_blocks": drawn(100, 4, 4)}, r"is for a tensor of \[400, 128\], the model has \[512, 128\]"),
    "oft's blocks": ({"oft_blocks": drawn(128, 4, 5)}, "no square ones"),
    "a flat oft": ({"oft_blocks": drawn(128, 4)}, "no square ones"),
    "boft": ({"oft_blocks": drawn(2, 100, 4, 4)}, r"is for a tensor of \[400, 128\]"),
    "boft's stages": ({"oft_blocks": drawn(9, 128, 4, 4)}, "9 stages of blocks do not divide 512 rows"),
    "dora's rows": (PEFT | {"dora_scale": torch.ones(100, 1)}, "neither one for each of the 512 rows nor"),
    "dora's columns": (PEFT | {"dora_scale": torch.ones(1, 99)}, "neither one for each of the 512 rows nor"),
    "middle": (PEFT | {"lora_mid.weight": torch.eye(4)}, r"does not go between factors of \[512, 4\] and \[4, 128\]"),
    "grown": (PEFT | {"reshape_weight": torch.tensor([600, 128])}, r"to make \[512, 128\] to \[600, 128\]"),
    "grown to a TB": (PEFT | {"reshape_weight": torch.tensor([10**6, 10**6])}, r"to \[1000000, 1000000\]"),
    "shrunk": (PEFT | {"reshape_weight": torch.tensor([1.0, 1.0])}, r"to \[1, 1\]"),
    "alpha of zero": (PEFT | {"alpha": torch.tensor(0.0)}, "alpha of 0, so that it changes nothing"),
}


@pytest.mark.parametrize("mode", ["merge", "bypass"])
@pytest.mark.parametrize("kind", WRONG)
def test_one_layer_that_does_not_fit_is_told_and_the_others_are_used(kind, mode, models, output, caplog):
    held, words = WRONG[kind]
    held = {suffix.replace("lora_B", "lora_up").replace("lora_A", "lora_down"): each for suffix, each in held.items()}
    model = models("int8-channel")
    patched, report = apply_lora(model, file(PEFT, SOUND) | file(held), NAME, 1.0, mode)
    alone, _ = apply_lora(model, file(PEFT, SOUND), NAME, 1.0, mode)
    lines = report.splitlines()
    assert re.match(rf"(Only |(Half|Most) of it is used \()2 of {2 + len(held)} keys", lines[0])
    assert len(lines) == 1 + len(held)
    assert all(re.search(words, line) for line in lines[1:])
    assert torch.equal(output(patched), output(alone))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
    output(model)


def test_a_lora_of_zero_alphas_alone_leaves_the_model_as_it_is(models):
    patched, report = apply_lora(models("int8-channel"), file(PEFT | {"alpha": torch.tensor(0)}), NAME)
    assert not patched.patches
    assert report.count("alpha of 0") == 3


@pytest.mark.parametrize("missing", GLORA)
def test_half_of_a_glora_is_refused(missing, models):
    held = {suffix: tensor for suffix, tensor in GLORA.items() if suffix != missing}
    with pytest.raises(LoRAError, match=rf"has no {missing} beside it"):
        apply_lora(models("int8-channel"), file(held), NAME)


CODES = ["int8", "int16", "int64", "uint8", "uint16", "bool", "complex64", "float8_e8m0fnu"]


@pytest.mark.parametrize("kind", ["lora_A.weight", "diff", "diff_b", "dora_scale"])
@pytest.mark.parametrize("dtype", CODES)
def test_values_that_no_lora_has_are_refused(dtype, kind, models):
    held = PEFT | {"diff": UP @ DOWN, "diff_b": torch.ones(512), "dora_scale": torch.ones(512, 1)}
    held[kind] = held[kind].abs().mul(100).to(getattr(torch, dtype))
    with pytest.raises(LoRAError, match=rf"{kind} has {dtype} values, and a LoRA's are floating-point"):
        apply_lora(models("int8-channel"), file(held), NAME)


def test_a_sparse_tensor_is_refused(models):
    with pytest.raises(LoRAError, match="diff_b has sparse_coo values"):
        apply_lora(models("int8-channel"), file({"diff_b": drawn(512).to_sparse()}), NAME)


@pytest.mark.parametrize(
    "scale",
    ["lora_A.weight_scale", "lora_up.scale", "lora_down.scale_weight", "lora_B.default.weight_scale", "lokr_w1.scale"],
)
def test_a_quantized_lora_is_refused(scale, models):
    with pytest.raises(LoRAError, match=rf"{scale} is a scale of a quantized LoRA, which is not read"):
        apply_lora(models("int8-channel"), file(PEFT | {scale: torch.ones(())}), NAME)


TEXT = (
    *("lora_te_text_model_encoder_layers_0_mlp_fc1", "lora_te2_encoder_block_0_layer_0_SelfAttention_q"),
    *(
        "text_encoder.text_model.encoder.layers.0.mlp.fc1",
        "text_encoders.qwen3_4b.transformer.model.layers.0.mlp.up_proj",
    ),
    *(
        "text_encoder_2.encoder.block.0.layer.0.SelfAttention.q",
        "clip_l.transformer.text_model.encoder.layers.0.mlp.fc1",
    ),
)


@pytest.mark.parametrize("layer", TEXT)
def test_a_text_encoders_part_is_named(layer, models):
    tensors = file({"lora_up.weight": UP, "lora_down.weight": DOWN}, layer)
    _, report = apply_lora(models("int8-channel"), file(PEFT) | tensors, NAME)
    assert report.count("is for a text encoder, and ComfyUI's LoraLoader puts it on a CLIP") == 2
    assert "nearest" not in report
    with pytest.raises(LoRAError, match=r"has nothing for this model: .* is for a text encoder"):
        apply_lora(models("int8-channel"), tensors, NAME)


def test_some_tensors_of_a_kind_that_core_converts(models):
    """Core takes these two names for a control LoRA of Flux, and the rest of one for granted."""
    tensors = {"img_in.lora_A.weight": DOWN, "single_blocks.0.norm.key_norm.scale": torch.ones(4)}
    _, report = apply_lora(models("int8-channel"), file(PEFT) | tensors, NAME)
    assert report.startswith("Half of it is used (2 of 4 keys): ")
