"""Files under the names that the templates have: the demo's, and random ones of models that the demo has not.

What writes one takes the models folder of the demo and the file to be written.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import core_umt5
import small_vaes
import torch
from family_files import core_model, lightx2vs, quantized_layers, tensors_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_wan import trained_lora

from x2v_quant.benchmarks.encoders import CLIP_POSITIONS
from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.demo import assets
from x2v_quant.demo.widen import IMAGE_FEATURES

Write = Callable[[Path, Path], object]  # (the demo's models folder, the file to be written)

INT8, FP8, DENSE = assets.names(assets.INT8), assets.names(assets.FP8), assets.names(assets.ORIGINAL)
SIZE = WanSize(dim=128, ffn=512)  # of the demo's diffusion model
T5_BLOCKS = 24  # by its last block core knows a T5 XXL
LATENT_OF_TI2V = 48  # channels of Wan 2.2 5B's latents
# what core takes for granted in files of these families, whatever they hold
QWEN_IMAGE = {"num_layers": 1, "num_attention_heads": 24, "joint_attention_dim": 3584}
Z_IMAGE = {"dim": 3840, "n_heads": 30, "n_layers": 1, "ffn_dim_multiplier": 8 / 3}


def demo(field: str, names: assets.Names = INT8) -> Write:
    """A file of the demo: what `field` of its names says."""
    return lambda models, path: shutil.copy(models / assets.FOLDERS[field] / getattr(names, field), path)


def core_text_encoder(models: Path, path: Path) -> None:
    """The demo's, as ComfyUI publishes the real one: with its tokenizer."""
    tensors = torch.load(models / assets.FOLDERS["t5"] / DENSE.t5, weights_only=True)
    spiece = bytes(tensors.pop(assets.TOKENIZER).tolist())
    save_file(core_umt5.scaled_fp8(tensors, spiece), path)


def dense_text_encoder(models: Path, path: Path) -> None:
    """The demo's, with its blocks repeated up to T5_BLOCKS, under its own names: what ReferenceT5 reads, where core
    builds its encoders in full size only."""
    tensors = torch.load(models / assets.FOLDERS["t5"] / DENSE.t5, weights_only=True)
    blocks = 1 + max(int(key.split(".")[1]) for key in tensors if key.startswith("blocks."))
    for number in range(blocks, T5_BLOCKS):
        source, target = f"blocks.{number % blocks}.", f"blocks.{number}."
        tensors |= {key.replace(source, target): tensors[key].clone() for key in [*tensors] if key.startswith(source)}
    save_file(tensors, path)


def not_read(models: Path, path: Path) -> None:
    """What a test has another node for."""
    save_file({"nothing": torch.zeros(1)}, path)


def first_and_last_frame(models: Path, path: Path) -> None:
    """The demo's image to video model with positions for two pictures."""
    source = models / assets.FOLDERS["i2v"] / DENSE.i2v
    positions = torch.randn((1, 2 * CLIP_POSITIONS, IMAGE_FEATURES), generator=torch.Generator().manual_seed(7))
    save_file(load_file(source) | {"img_emb.emb_pos": positions.mul(0.02).bfloat16()}, path, header(source))


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def text_and_image_to_video(models: Path, path: Path) -> None:
    """The demo's text to video model with latents of Wan 2.2 5B's VAE."""
    source = models / assets.FOLDERS["t2v"] / DENSE.t2v
    tensors, generator = load_file(source), torch.Generator().manual_seed(8)
    for key, axis in (("patch_embedding.weight", 1), ("head.head.weight", 0), ("head.head.bias", 0)):
        shape = list(tensors[key].shape)
        shape[axis] *= LATENT_OF_TI2V // 16
        tensors[key] = (torch.randn(shape, generator=generator) * tensors[key].float().std()).bfloat16()
    save_file(tensors, path, header(source))


def lora(models: Path, path: Path) -> None:
    """For the demo's diffusion model."""
    save_file(trained_lora(9), path)


def scaled_fp8(name: str, text_width: int) -> Write:
    """A family of family_files in ComfyUI's own fp8, of which one scale belongs to each layer."""

    def write(models: Path, path: Path) -> None:
        stored = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}
        tensors = tensors_of(name) | resized(name, text_width)
        layers = quantized_layers(name, tensors)
        for key, tensor in tensors.items():
            layer = key.removesuffix(".weight")
            if key.endswith(".weight") and layer in layers:
                scale = tensor.abs().amax() / torch.finfo(torch.float8_e4m3fn).max
                stored[key] = (tensor / scale).to(torch.float8_e4m3fn)
                stored[f"{layer}.scale_weight"] = scale
            else:
                stored[key] = tensor.bfloat16()
        save_file(stored, path)

    return write


def resized(name: str, text_width: int) -> dict[str, torch.Tensor]:
    """The one layer that depends on the width of the text encoder."""
    shape = core_model(name, {"context_in_dim": text_width}).state_dict()["txt_in.weight"].shape
    return {"txt_in.weight": torch.randn(shape, generator=torch.Generator().manual_seed(10)) * shape[1] ** -0.5}


def full_width(name: str, sizes: dict, kind: str) -> Write:
    """A family that core knows in one width only, as LightX2V's file in `kind`, a key of KINDS. All rows of a weight
    hold the same random codes: 900 million numbers are drawn in no time."""

    def write(models: Path, path: Path) -> None:
        generator, stored = torch.Generator().manual_seed(11), {}
        tensors = lightx2vs(name, core_model(name, sizes).state_dict(), sizes)
        layers = quantized_layers(name, tensors)
        for key, empty in tensors.items():
            layer, shape = key.removesuffix(".weight"), empty.shape
            if key.endswith(".weight") and layer in layers:
                row = KINDS[kind](torch.randn((1, shape[1]), generator=generator) * shape[1] ** -0.5)
                stored[key] = row["weight"].view(torch.uint8).expand(shape).contiguous().view(row["weight"].dtype)
                spread = torch.rand((shape[0], 1), generator=generator) + 0.5
                stored[f"{layer}.weight_scale"] = row["weight_scale"].float() * spread
            else:
                values = torch.randn(shape[-1:], generator=generator) * 0.02
                stored[key] = (1 + values if key.endswith("weight") and len(shape) == 1 else values).expand(shape)
                stored[key] = stored[key].bfloat16().contiguous()
        save_file(stored, path)

    return write


def vae(kind: str) -> Write:
    """One of small_vaes."""
    return lambda models, path: small_vaes.write(path, kind)


# a template's model -> what writes the file that takes its place; a new one is a row
FILES: dict[str, Write] = {
    "wan2.1_t2v_1.3B_fp16.safetensors": demo("t2v", DENSE),
    "wan2.1_t2v_14b_int8_lightx2v_4step.safetensors": demo("t2v"),
    "wan2.1_i2v_480p_int8_lightx2v_4step.safetensors": demo("i2v"),
    "wan2.1_flf2v_720p_14B_fp16.safetensors": first_and_last_frame,
    "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": demo("t2v", FP8),
    "wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors": demo("t2v", FP8),
    "wan2.2_i2v_A14b_high_noise_int8_lightx2v_4step.safetensors": demo("i2v"),
    "wan2.2_i2v_A14b_low_noise_int8_lightx2v_4step.safetensors": demo("i2v"),
    "wan2.2_t2v_A14b_high_noise_lora_rank64_lightx2v_4step_1217.safetensors": lora,
    "wan2.2_t2v_A14b_low_noise_lora_rank64_lightx2v_4step_1217.safetensors": lora,
    "wan2.2_ti2v_5B_fp16.safetensors": text_and_image_to_video,
    "qwen_image_2512_fp8_e4m3fn_scaled_4steps_v1.0.safetensors": full_width("qwen-image", QWEN_IMAGE, "fp8"),
    "z_image_turbo_int8.safetensors": full_width("z-image", Z_IMAGE, "int8"),
    "flux1-krea-dev_fp8_scaled.safetensors": scaled_fp8("flux", text_width=SIZE.dim),
    core_umt5.NAME: core_text_encoder,
    "umt5_xxl_fp16.safetensors": dense_text_encoder,
    "t5xxl_fp16.safetensors": dense_text_encoder,
    "clip_l.safetensors": not_read,
    "qwen_2.5_vl_7b_fp8_scaled.safetensors": not_read,
    "qwen_3_4b.safetensors": not_read,
    "models_clip_open-clip-xlm-roberta-large-vit-huge-14-int8.pth": demo("clip"),
    "wan_2.1_vae.safetensors": demo("vae"),
    "qwen_image_vae.safetensors": demo("vae"),
    "wan2.2_vae.safetensors": vae("wan 2.2"),
    "ae.safetensors": vae("flux"),
}
