"""LoRAs under diffusers' and LightX2V's names of models whose layers ComfyUI has joined, with dots and without."""

import comfy.lora
import pytest
import torch
from family_files import FAMILIES, core_model, lightx2vs, run, tell_sizes, tensors_of, write
from older_comfyui import in_core, is_in_core

from x2v_quant.loading.dit import load_dit
from x2v_quant.loras import LoRAError, LoRATargets, apply_lora, translate
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
ROOT = "diffusion_model."
NAMES = sorted(set(FAMILIES) - {"ltx-2"})  # core's model wants its configuration
KEY_FORMATS = {
    "kohya": lambda layer: f"lora_unet_{layer.replace('.', '_')}",
    "trailing": lambda layer: f"lora_unet_{layer.replace('.', '_')}_",
    "onetrainer": lambda layer: f"lora_transformer_{layer.replace('.', '_')}",
    "lycoris": lambda layer: f"lycoris_{layer.replace('.', '_')}",
    "dotted": lambda layer: f"transformer.{layer}",
    "wrapped": lambda layer: f"module._orig_mod.base_model.model.{layer}",
}


@pytest.fixture(scope="module")
def shapes():
    names = filter(is_in_core, NAMES)
    return {name: {key: tuple(t.shape) for key, t in core_model(name).state_dict().items()} for name in names}


def summed(patches, shape, name):
    """What all patches of one tensor add to it."""
    held = [((target, None, None) if isinstance(target, str) else target, patch) for target, patch in patches.items()]
    rows = [(1.0, patch, 1.0, (*target, None)[1], (*target, None)[2]) for target, patch in held if target[0] == name]
    return comfy.lora.calculate_weight(rows, torch.zeros(shape), name)


@pytest.mark.parametrize("key_format", KEY_FORMATS)
@pytest.mark.parametrize("name", in_core(NAMES))
def test_every_weight_of_the_other_names_arrives_where_it_belongs(name, key_format, shapes):
    own, generator = shapes[name], torch.Generator().manual_seed(0)
    added = {key: torch.randn(shape, generator=generator) for key, shape in own.items() if key.endswith(".weight")}
    theirs = {key: tensor for key, tensor in lightx2vs(name, dict(added)).items() if key.endswith(".weight")}
    tensors = {f"{KEY_FORMATS[key_format](key.removesuffix('.weight'))}.diff": tensor for key, tensor in theirs.items()}
    made = translate("lora.safetensors", tensors, LoRATargets(own, ROOT))
    assert (made.unmatched, made.unused) == ({}, {})
    for key, tensor in added.items():
        assert torch.equal(summed(made.patches, own[key], ROOT + key), tensor), key


@pytest.mark.parametrize(
    "theirs,ours,rows",
    [
        ("transformer_blocks.0.attn.to_k", "double_blocks.0.img_attn.qkv", (0, 256, 256)),
        ("transformer_blocks.1.attn.add_v_proj", "double_blocks.1.txt_attn.qkv", (0, 512, 256)),
        ("transformer_blocks.0.attn.to_out.0", "double_blocks.0.img_attn.proj", None),
        ("transformer_blocks.0.ff_context.net.2", "double_blocks.0.txt_mlp.2", None),
        (
            "context_embedder.token_refiner.refiner_blocks.1.attn.to_q",
            "txt_in.individual_token_refiner.blocks.1.self_attn.qkv",
            (0, 0, 256),
        ),
        (
            "context_embedder.token_refiner.refiner_blocks.0.ff.net.0.proj",
            "txt_in.individual_token_refiner.blocks.0.mlp.0",
            None,
        ),
        ("single_transformer_blocks.2.proj_mlp", "single_blocks.2.linear1", (0, 768, 1024)),
        ("single_transformer_blocks.2.proj_out", "single_blocks.2.linear2", None),
        ("x_embedder.proj", "img_in.proj", None),
    ],
)
@pytest.mark.parametrize("key_format", KEY_FORMATS)
def test_diffusers_hunyuan_video(theirs, ours, rows, key_format, shapes):
    found = LoRATargets(shapes["hunyuan"], ROOT).find(KEY_FORMATS[key_format](theirs))
    assert found == (f"{ROOT}{ours}.weight" if rows is None else (f"{ROOT}{ours}.weight", rows))


@pytest.fixture(scope="module")
def z_image(tmp_path_factory):
    path = tmp_path_factory.mktemp("z") / "z_image.safetensors"
    write(path, "z-image", "int8", tensors_of("z-image"))
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        tell_sizes("z-image", patch)
        return load_dit(str(path), SchemeChoice(dit="dequant", compute_dtype="fp32"))


@pytest.mark.parametrize("key_format", KEY_FORMATS)
def test_a_model_does_the_same_with_the_parts_the_whole_or_both(key_format, z_image):
    """qkv, and to_q, to_k, to_v of the same numbers."""
    import comfy.model_management

    generator = torch.Generator().manual_seed(0)
    up, down = torch.randn((768, 4), generator=generator) * 0.1, torch.randn((4, 256), generator=generator)
    whole = {"diffusion_model.layers.0.attention.qkv.lora_A.weight": down}
    whole["diffusion_model.layers.0.attention.qkv.lora_B.weight"] = up
    parts = {}
    for one, rows in zip("qkv", up.chunk(3), strict=True):
        layer = KEY_FORMATS[key_format](f"layers.0.attention.to_{one}")
        parts |= {f"{layer}.lora_down.weight": down, f"{layer}.lora_up.weight": rows}

    def output(tensors):
        patched, report = apply_lora(z_image, tensors, "lora.safetensors")
        comfy.model_management.load_models_gpu([patched])
        return run("z-image", patched), report

    comfy.model_management.load_models_gpu([z_image])
    alone, (wanted, _) = run("z-image", z_image), output(whole)
    for tensors, used in ((parts, 6), (whole | parts, 2), (parts | whole, 2)):
        found, report = output(tensors)
        assert report.startswith("The whole LoRA is used: ") or f"{used} of {len(tensors)} keys" in report
        assert report.startswith("The whole LoRA") == (used == len(tensors))
        assert (found - wanted).norm() < 0.01 * (wanted - alone).norm()
    comfy.model_management.load_models_gpu([z_image])


OMI = {
    ("flux", "transformer.double_blocks.1.img_attn.qkv.0"): ("double_blocks.1.img_attn.qkv", (0, 0, 256)),
    ("flux", "transformer.double_blocks.1.txt_attn.qkv.2"): ("double_blocks.1.txt_attn.qkv", (0, 512, 256)),
    ("flux", "transformer.single_blocks.0.linear1.3"): ("single_blocks.0.linear1", (0, 768, 1024)),
    ("flux", "transformer.img_in.proj"): ("img_in", None),
    ("hunyuan", "transformer.double_blocks.0.img_attn_qkv.1"): ("double_blocks.0.img_attn.qkv", (0, 256, 256)),
    ("hunyuan", "transformer.double_blocks.0.img_mlp.fc0"): ("double_blocks.0.img_mlp.0", None),
    ("hunyuan", "transformer.single_blocks.0.linear1.0"): ("single_blocks.0.linear1", (0, 0, 256)),
}


@pytest.mark.parametrize("name,theirs", OMI)
def test_omi_counts_the_layers_of_a_joined_one(name, theirs, shapes):
    ours, rows = OMI[name, theirs]
    found = LoRATargets(shapes[name], ROOT).find(theirs)
    assert found == (f"{ROOT}{ours}.weight" if rows is None else (f"{ROOT}{ours}.weight", rows))


@pytest.mark.parametrize("theirs", ["transformer.double_blocks.1.img_attn.qkv.3", "double_blocks.1.img_attn.proj.0"])
def test_a_layer_that_is_not_there_is_not_counted(theirs, shapes):
    assert LoRATargets(shapes["flux"], ROOT).find(theirs) is None


@pytest.mark.parametrize(
    "end,ours",
    [
        ("double_blocks.0.processor.qkv_lora1", "double_blocks.0.img_attn.qkv"),
        ("double_blocks.1.processor.proj_lora2", "double_blocks.1.txt_attn.proj"),
        ("single_blocks.1.processor.proj_lora", "single_blocks.1.linear2"),
    ],
)
def test_processors_of_xlabs(end, ours, shapes):
    rows, columns = shapes["flux"][f"{ours}.weight"]
    tensors = {f"{end}.up.weight": torch.ones(rows, 4), f"{end}.down.weight": torch.ones(4, columns)}
    made = translate("lora.safetensors", tensors, LoRATargets(shapes["flux"], ROOT))
    assert list(made.patches) == [f"{ROOT}{ours}.weight"]


def test_a_bias_of_a_part_is_for_its_rows_of_the_bias(shapes):
    added = torch.randn(256)
    tensors = {"lora_unet_transformer_blocks_0_attn_to_k.diff_b": added}
    made = translate("lora.safetensors", tensors, LoRATargets(shapes["flux"], ROOT))
    bias = f"{ROOT}double_blocks.0.img_attn.qkv.bias"
    wanted = torch.cat([torch.zeros(256), added, torch.zeros(256)])
    assert torch.equal(summed(made.patches, (768,), bias), wanted)


def test_a_part_of_another_size_is_refused(shapes):
    tensors = {"transformer.transformer_blocks.0.attn.to_k.diff": torch.ones(512, 256)}
    with pytest.raises(LoRAError, match=r"another size: .*is for a tensor of \[512, 256\], the model has \[256, 256\]"):
        translate("lora.safetensors", tensors, LoRATargets(shapes["flux"], ROOT))
