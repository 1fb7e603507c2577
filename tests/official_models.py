"""Small models under the names that official workflows have: what makes those run on a CPU."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import core_models
import family_files
import small_encoders
import small_vaes
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.demo import assets

INT8 = "int8"
SMALL = "small"  # beside the file's own config: sizes that core does not read off it, see tests/server/small_pack
WAN_5B = {**core_models.WAN, "num_heads": 2, "num_layers": 2, "in_dim": 48, "out_dim": 48}
# a noisy latent and a frame of 32 channels each, and a mask
HUNYUAN_15 = {"in_channels": 65, "out_channels": 32}

Write = Callable[[Path, Path], None]  # (place, models folder of the demo)


def demo(part: str, place: Path, models: Path) -> None:
    """The demo's trained model, of LightX2V's layout, as safetensors whatever it was."""
    source = models / assets.FOLDERS[part] / getattr(assets.names(INT8), part)
    save_file(load_file(source) if source.suffix == ".safetensors" else torch.load(source, weights_only=True), place)


def wan_5b(place: Path, models: Path) -> None:
    """With a context as wide as the demo's umt5 makes it."""
    import comfy.ldm.wan.model
    import comfy.ops

    with safe_open(models / assets.FOLDERS["t2v"] / assets.names(INT8).t2v, "pt") as file:
        _, width = file.get_slice("text_embedding.0.weight").get_shape()
    sizes = {**WAN_5B, "text_dim": width, "model_type": "t2v", "dtype": torch.float32}
    with torch.device("meta"):
        model = comfy.ldm.wan.model.WanModel(**sizes, device="meta", operations=comfy.ops.disable_weight_init)
    save_file(quantized(family_files.random_weights(model), INT8, "dit"), place)


def family(name: str, more: dict, place: Path, models: Path) -> None:
    """A model of family_files with `more` arguments than that has."""
    sizes = family_files.FAMILIES[name].sizes
    metadata = {"config": json.dumps({SMALL: sizes})} if sizes else None
    family_files.write(place, name, INT8, family_files.tensors_of(name, more), more, metadata)


def encoder(name: str, part: str, place: Path, models: Path) -> None:
    small_encoders.write(place, name, part)


def vae(name: str, place: Path, models: Path) -> None:
    small_vaes.write(place, name)


# below ComfyUI's models -> what writes it; a new model is a row
FILES: dict[str, Write] = {
    "diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors": partial(demo, "t2v"),
    "diffusion_models/wan2.1_i2v_480p_14B_fp16.safetensors": partial(demo, "i2v"),
    "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": partial(demo, "t2v"),
    "diffusion_models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors": partial(demo, "t2v"),
    "diffusion_models/wan2.2_ti2v_5B_fp16.safetensors": wan_5b,
    "diffusion_models/qwen_image_fp8_e4m3fn.safetensors": partial(family, "qwen-image", {}),
    "diffusion_models/z_image_turbo_bf16.safetensors": partial(family, "z-image", {}),
    "diffusion_models/flux1-dev.safetensors": partial(family, "flux", {}),
    # klein's text encoder puts three layers side by side
    "diffusion_models/flux-2-klein-base-4b.safetensors": partial(
        family, "flux 2", {"context_in_dim": 3 * small_encoders.HIDDEN}
    ),
    "diffusion_models/hunyuanvideo1.5_720p_t2v_fp16.safetensors": partial(family, "hunyuan 1.5", HUNYUAN_15),
    "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors": partial(demo, "t5"),
    "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors": partial(encoder, "qwen_image", ""),
    "text_encoders/qwen_3_4b.safetensors": partial(encoder, "lumina2", ""),
    "text_encoders/clip_l.safetensors": partial(encoder, "flux", "clip_l."),
    "text_encoders/t5xxl_fp16.safetensors": partial(encoder, "flux", "t5xxl."),
    "text_encoders/byt5_small_glyphxl_fp16.safetensors": partial(encoder, "hunyuan_video_15", "byt5_small."),
    "clip_vision/clip_vision_h.safetensors": partial(demo, "clip"),
    "vae/wan_2.1_vae.safetensors": partial(demo, "vae"),
    "vae/qwen_image_vae.safetensors": partial(demo, "vae"),
    "vae/wan2.2_vae.safetensors": partial(vae, "wan 2.2"),
    "vae/ae.safetensors": partial(vae, "flux"),
    "vae/flux2-vae.safetensors": partial(vae, "flux 2"),
    "vae/hunyuanvideo15_vae_fp16.safetensors": partial(vae, "hunyuan 1.5"),
}


def write(models: Path, demo_models: Path) -> None:
    """Every file below `models`, about 450 MB."""
    for name, make in FILES.items():
        place = models / name
        place.parent.mkdir(parents=True, exist_ok=True)
        make(place, demo_models)
