"""ComfyUI's own loader reads what is written in its dialect, and LoRAs merged on the way are those that it applies."""

from collections import defaultdict

import comfy.sd
import comfy.utils
import pytest
import torch
from older_comfyui import read_by_core
from recorded_inputs import recorded
from safetensors.torch import save_file
from small_wan import saved_by_core

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI
from x2v_quant.converting import ConvertError
from x2v_quant.converting.dialects import choices
from x2v_quant.demo import assets
from x2v_quant.formats import FORMATS
from x2v_quant.loading.dit import load_dit
from x2v_quant.rounding.record import Record
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
ORIGINAL = assets.names(assets.ORIGINAL).t2v
LATENT = (1, 16, 3, 8, 8)
KERNEL = {"int8-channel": "int8-reference", "fp8-tensor": "dequant", "mxfp8": "mxfp8", "nvfp4": "nvfp4"}
# bit for bit, because rotated channels come within a rounding of a code's border
KERNEL["int8-convrot"] = KERNEL["w4a8"] = "int8-convrot-comfyui"
# a code of 4 bits is a step of 1/7, and which one an activation gets can depend on the order of a sum
NEAR = defaultdict(lambda: 1e-3, {"convrot-w4a4": 0.05})
KERNEL |= {"awq-w4a16": "awq-w4a16-reference", "convrot-w4a4": "convrot-w4a4-reference"}


@pytest.fixture(scope="module")
def original(demo_models):
    return demo_models / "diffusion_models" / ORIGINAL


def output(patcher):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(LATENT, generator=generator)
    text = torch.randn(1, 16, patcher.model.diffusion_model.text_embedding[0].in_features, generator=generator)
    comfy.model_management.load_models_gpu([patcher])
    return patcher.model.diffusion_model(x, torch.tensor([500.0]), text)


@pytest.mark.parametrize("format_name", read_by_core(choices(COMFYUI)))
def test_core_computes_what_our_loader_computes(format_name, original, converted):
    path = converted(original, format=format_name, dialect=COMFYUI)
    core = output(comfy.sd.load_diffusion_model(str(path)))
    # core computes float32 on every CPU
    ours = output(load_dit(str(path), SchemeChoice(dit=KERNEL[format_name], compute_dtype="fp32")))
    assert (ours - core).norm() <= NEAR[format_name] * core.norm()
    plain = output(comfy.sd.load_diffusion_model(str(original)))
    far = 0.5 if format_name == "convrot-w4a4" else 0.35
    assert 1e-3 * plain.norm() < (core - plain).norm() < far * plain.norm()


@pytest.mark.parametrize("format_name", read_by_core(choices(COMFYUI)))
def test_what_core_saves_of_it_is_read_as_the_same(format_name, original, converted, tmp_path):
    path = converted(original, format=format_name, dialect=COMFYUI)
    saved = saved_by_core(comfy.sd.load_diffusion_model(str(path)), tmp_path / "saved.safetensors")
    checkpoint = open_checkpoint(saved)
    checkpoint.require("dit")
    found, written = (file.load().quantized for file in (checkpoint, open_checkpoint(path)))
    assert len(found) == 40
    for layer, stored in written.items():
        assert found[layer].format == stored.format
        read, expected = (one.wrap(torch.float32).dequantize() for one in (found[layer], stored))
        assert torch.equal(read, expected), layer


@pytest.mark.parametrize("format_name", read_by_core([name for name in choices(COMFYUI) if FORMATS[name].grid]))
def test_core_reads_what_gptq_has_rounded(format_name, original, converted):
    asked = {"format": format_name, "dialect": COMFYUI, "calibration": recorded(original, 256)}
    path = converted(original, **asked)
    assert Record.read(open_checkpoint(path).metadata).methods == {"gptq": 40}
    core = output(comfy.sd.load_diffusion_model(str(path)))
    ours = output(load_dit(str(path), SchemeChoice(dit=KERNEL[format_name], compute_dtype="fp32")))
    assert (ours - core).norm() <= NEAR[format_name] * core.norm()


@pytest.fixture
def lora(original, tmp_path):
    """A LoRA with ranks, a weight difference and a bias difference."""
    generator = torch.Generator().manual_seed(1)
    weights = comfy.utils.load_torch_file(str(original))
    tensors = {}
    for layer in ("blocks.0.self_attn.q", "blocks.1.ffn.0", "blocks.2.ffn.2"):
        n, k = weights[f"{layer}.weight"].shape
        tensors[f"diffusion_model.{layer}.lora_down.weight"] = torch.randn(4, k, generator=generator) / k**0.5
        tensors[f"diffusion_model.{layer}.lora_up.weight"] = 4 * torch.randn(n, 4, generator=generator)
        tensors[f"diffusion_model.{layer}.alpha"] = torch.tensor(2.0)
    bias = weights["blocks.3.ffn.0.bias"]
    tensors["diffusion_model.blocks.3.ffn.0.diff_b"] = torch.randn(bias.shape, generator=generator) * 2
    path = tmp_path / "lora.safetensors"
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("source", ["bf16", "int8"])
def test_a_merged_lora_is_the_one_that_core_applies(source, original, lora, converted, demo_models):
    file = original if source == "bf16" else demo_models / "diffusion_models" / assets.names("int8").t2v
    path = converted(file, format="int8-channel", loras=((lora, 0.8),))
    merged = output(load_dit(str(path)))
    patched, _ = comfy.sd.load_lora_for_models(
        comfy.sd.load_diffusion_model(str(original)), None, comfy.utils.load_torch_file(str(lora)), 0.8, 0
    )
    expected = output(patched)
    without = output(comfy.sd.load_diffusion_model(str(original)))
    assert (merged - expected).norm() <= 0.05 * (without - expected).norm() + 0.02 * expected.norm()
    assert (without - expected).norm() > 0.1 * expected.norm()


def test_a_lora_for_another_model_is_refused(original, tmp_path, converted):
    path = tmp_path / "other.safetensors"
    save_file({"lora_unet_down_blocks_0.lora_down.weight": torch.zeros(4, 8)}, path)
    with pytest.raises(ConvertError, match=r"other.safetensors has nothing for this model: its keys"):
        converted(original, format="int8-channel", loras=((path, 1.0),))


def test_an_encoder_takes_no_lora(lora, fixtures, converted):
    with pytest.raises(ConvertError, match="is no diffusion model"):
        converted(fixtures / "t5.safetensors", format="int8-channel", loras=((lora, 1.0),))
