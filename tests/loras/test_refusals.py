"""What of a LoRA has no use in a model, and what is refused before anything is sampled."""

import logging
import re

import pytest
import torch
from distance import distance
from safetensors.torch import save_file

from x2v_quant.loras import LoRAError, apply_lora, read_lora

pytestmark = pytest.mark.usefixtures("inference")
NAME = "lora.safetensors"
LAYER = "diffusion_model.blocks.0.ffn.0"


@pytest.fixture
def model(models):
    return models("int8-channel")


def pair(layer, n=512, k=128, rank=4):
    return {f"{layer}.lora_A.weight": torch.ones(rank, k), f"{layer}.lora_B.weight": torch.ones(n, rank)}


@pytest.mark.parametrize(
    "unused,words",
    [
        (
            pair("diffusion_model.blocks.0.ffn.00"),
            r"blocks\.0\.ffn\.00\.lora_A\.weight has no place in this model, the nearest is blocks\.0\.ffn\.0",
        ),
        (
            pair("transformer.blocks.1.attn2.add_k_proj", 128, 128),
            r"attn2\.add_k_proj\.lora_A\.weight has no place in this model, the nearest is blocks\.1\.cross_attn\.k",
        ),
        (
            {"diffusion_model.blocks.1.ffn.0.diff": torch.ones(3, 4)},
            r"diff is for a tensor of \[3, 4\], the model has \[512, 128\]",
        ),
        (
            {"diffusion_model.blocks.1.ffn.0.diff_b": torch.ones(3)},
            r"diff_b is for a tensor of \[3\], the model has \[512\]",
        ),
        (
            {"diffusion_model.blocks.1.self_attn.norm_q.diff_b": torch.ones(128)},
            r"norm_q\.diff_b is for a bias, and the layer has none",
        ),
        (pair("diffusion_model.blocks.1.ffn.0", 8960, 1536), r"is for a tensor of \[8960, 1536\], .* \[512, 128\]"),
        ({"diffusion_model.blocks.1.ffn.0.alpha": torch.tensor(1.0)}, "alpha goes with nothing else in the file"),
        ({"diffusion_model.blocks.1.ffn.0.weight": torch.ones(3, 4)}, "weight is no tensor of a LoRA"),
        (pair("lora_unet_blocks_0_ffn_0"), r"is for the same tensor as diffusion_model\.blocks\.0\.ffn\.0"),
        ({**pair("diffusion_model.blocks.1.ffn.0"), **pair("blocks.1.ffn.2", 128, 512, 3)}, None),
    ],
    ids=["name", "i2v", "diff", "diff_b", "no-bias", "size", "alpha", "weight", "twice", "all-used"],
)
def test_what_is_not_used_is_reported_with_its_cause(unused, words, model, caplog):
    caplog.set_level(logging.INFO, "x2v-quant")
    patched, report = apply_lora(model, pair(LAYER) | unused, NAME)
    lines = report.splitlines()
    assert f"{LAYER}.weight" in patched.patches
    if words is None:
        assert lines == [f"The whole LoRA is used: {NAME}, strength 1 (merged)."]
        return
    share = f"2 of {2 + len(unused)} keys"
    most = "Half" if len(unused) == 2 else "Most"
    told = (
        f"Only {share} are used (is this LoRA for this model?)"
        if len(unused) > 2
        else f"{most} of it is used ({share})"
    )
    assert lines[0] == f"{told}: {NAME}, strength 1 (merged)."
    assert len(lines) == 1 + len(unused)
    assert re.search(words, lines[1])
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        f"{NAME}: {line}" for line in lines[1:]
    ]


def test_many_unused_keys_are_counted(model):
    extra = {f"diffusion_model.blocks.{index}.ffn.9.diff": torch.ones(2) for index in range(100)}
    _, report = apply_lora(model, pair(LAYER) | extra, NAME)
    assert report.startswith(
        f"Only 2 of 102 keys are used (is this LoRA for this model?): {NAME}, strength 1 (merged)."
    )
    assert len(report.splitlines()) == 7
    assert report.endswith("not used: 95 more keys")


@pytest.mark.parametrize(
    "tensors,words",
    [
        (
            pair("lora_unet_down_blocks_0_attentions_0_proj_in", 320, 320),
            r"nothing for this model: its keys are like lora_unet_down.*, the model's layers like .*made for it",
        ),
        (
            {**pair(LAYER, 13824, 5120), **pair("diffusion_model.blocks.39.ffn.0", 13824, 5120)},
            r"another size: .*blocks\.0\.ffn\.0\.lora_A.* \[13824, 5120\], the model has \[512, 128\].* model's size",
        ),
        ({"blocks.0.ffn.0.weight": torch.ones(2, 2)}, r"blocks\.0\.ffn\.0\.weight is no tensor of a LoRA"),
        ({}, "has no tensor"),
        ({f"{LAYER}.lora_up.weight": torch.ones(512, 4)}, r"lora_up\.weight has no lora_down\.weight beside it"),
        ({f"{LAYER}.lora_A.weight": torch.ones(4, 128)}, r"lora_A\.weight has no lora_up\.weight beside it"),
        (
            {f"{LAYER}.lora_A.weight": torch.ones(4, 128), f"{LAYER}.lora_B.weight": torch.ones(512, 8)},
            r"lora_up\.weight has rank 8, lora_down\.weight rank 4",
        ),
    ],
    ids=["other-model", "14b", "checkpoint", "empty", "no-down", "no-up", "ranks"],
)
@pytest.mark.parametrize("mode", ["auto", "bypass"])
def test_a_lora_without_use_is_refused_in_a_sentence(tensors, words, mode, model):
    with pytest.raises(LoRAError, match=f"^{NAME}.*{words}") as caught:
        apply_lora(model, tensors, NAME, 1.0, mode)
    assert str(caught.value).endswith(".")


def test_a_file_that_is_not_there_or_damaged(tmp_path):
    with pytest.raises(LoRAError, match="There is no LoRA at"):
        read_lora(tmp_path / NAME)
    (tmp_path / NAME).write_bytes(b"no safetensors")
    with pytest.raises(LoRAError, match=f"{NAME} is a text file, not a LoRA. Download it again."):
        read_lora(tmp_path / NAME)
    save_file(pair(LAYER), tmp_path / NAME)
    assert set(read_lora(tmp_path / NAME)) == set(pair(LAYER))


def test_plain_numbers_of_a_pickle_count_and_texts_do_not(tmp_path, model):
    path = tmp_path / "lora.pth"
    torch.save({**pair(LAYER), f"{LAYER}.alpha": 2.0, "made_by": "someone"}, path)
    found = read_lora(path)
    assert found.keys() == {*pair(LAYER), f"{LAYER}.alpha"}
    (patch,) = apply_lora(model, found, path.name, 1.0, "merge")[0].patches.values()
    assert patch[0][1].weights[2] == 2.0


@pytest.mark.parametrize(
    "kind,tensors,bypassed",
    [
        ("lora", pair(LAYER), True),
        ("dora", pair(LAYER) | {f"{LAYER}.dora_scale": torch.ones(512, 1)}, False),
        ("peft-dora", pair(LAYER) | {f"{LAYER}.lora_magnitude_vector": torch.ones(512)}, False),
        (
            "loha",
            {f"{LAYER}.hada_w{i}_{p}": torch.randn((512, 4) if p == "a" else (4, 128)) for i in "12" for p in "ab"},
            True,
        ),
        ("lokr", {f"{LAYER}.lokr_w1": torch.randn(4, 4), f"{LAYER}.lokr_w2": torch.randn(128, 32)}, True),
    ],
)
def test_what_cannot_be_beside_a_weight_is_merged(kind, tensors, bypassed, model, output):
    """Either way the layer does what it does with the LoRA in a float weight."""
    import comfy.lora

    patched, report = apply_lora(model, tensors, NAME, 0.1, "bypass")
    assert report.endswith(", strength 0.1 (bypassed)." if bypassed else ", strength 0.1 (merged).")
    weight = model.model.diffusion_model.blocks[0].ffn[0].weight.dequantize().float()
    merged, _ = apply_lora(model, tensors, NAME, 0.1, "merge")
    name = f"{LAYER}.weight"
    wanted = comfy.lora.calculate_weight(merged.patches[name], weight.clone(), name)
    x = torch.randn((5, 128), generator=torch.Generator().manual_seed(0))
    output(patched)
    layer = patched.model.diffusion_model.blocks[0].ffn[0]
    got = layer(x) - layer.bias.float()
    assert distance(got, x @ wanted.T) < (1e-5 if bypassed else 0.02)
    output(model)


@pytest.mark.parametrize(
    "tensors",
    [
        {f"{LAYER}.hada_w{i}_{p}": torch.ones((99, 4) if p == "a" else (4, 128)) for i in "12" for p in "ab"},
        {f"{LAYER}.lokr_w1": torch.ones(4, 4), f"{LAYER}.lokr_w2": torch.ones(128, 33)},
        {f"{LAYER}.lokr_w1_a": torch.ones(4, 2), f"{LAYER}.lokr_w1_b": torch.ones(2, 4)}
        | {f"{LAYER}.lokr_w2": torch.ones(128, 33)},
    ],
    ids=["loha", "lokr", "lokr-factors"],
)
def test_other_kinds_of_another_size_are_refused(tensors, model):
    with pytest.raises(LoRAError, match="another size"):
        apply_lora(model, tensors, NAME)
