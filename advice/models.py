"""Models by name, as ComfyUI builds them: without weights."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import AdviceError

NEAR = 3


@dataclass(frozen=True)
class Model:
    """`comfyui`: the name of a class in core's comfy.supported_models. `sizes`: the arguments of its diffusion model,
    where they are not the defaults of core's class; `source`: where they are published. `experts`: models that take
    turns, each as large."""

    name: str
    comfyui: str
    sizes: Mapping[str, Any]
    source: str
    experts: int = 1


def _wan(dim: int, ffn: int, layers: int, channels: int = 16, **more: Any) -> dict[str, Any]:
    heads = {"dim": dim, "ffn_dim": ffn, "num_heads": dim // 128, "num_layers": layers}
    return {"image_model": "wan2.1", "model_type": "t2v", "in_dim": channels, "out_dim": 16, **heads, **more}


_14B = (5120, 13824, 40)
_FLUX = {
    "image_model": "flux",
    "in_channels": 16,
    "out_channels": 16,
    "patch_size": 2,
    "vec_in_dim": 768,
    "context_in_dim": 4096,
    "hidden_size": 3072,
    "mlp_ratio": 4.0,
    "num_heads": 24,
    "depth": 19,
    "depth_single_blocks": 38,
    "axes_dim": [16, 56, 56],
    "theta": 10000,
    "qkv_bias": True,
    "guidance_embed": True,
    "txt_ids_dims": [],
}
_Z_IMAGE = {
    "image_model": "lumina2",
    "patch_size": 2,
    "in_channels": 16,
    "dim": 3840,
    "n_layers": 30,
    "n_heads": 30,
    "n_kv_heads": 30,
    "axes_dims": [32, 48, 48],
    "axes_lens": [1536, 512, 512],
    "rope_theta": 256.0,
    "ffn_dim_multiplier": 8 / 3,
    "cap_feat_dim": 2560,
    "qk_norm": True,
    "z_image_modulation": True,
    "time_scale": 1000.0,
    "pad_tokens_multiple": 32,
}
_QWEN = {"image_model": "qwen_image", "in_channels": 64, "num_layers": 60}

MODELS = {
    row.name: row
    for row in (
        Model("wan2.1-t2v-14b", "WAN21_T2V", _wan(*_14B), "Wan-AI/Wan2.1-T2V-14B"),
        Model("wan2.1-t2v-1.3b", "WAN21_T2V", _wan(1536, 8960, 30), "Wan-AI/Wan2.1-T2V-1.3B"),
        Model("wan2.1-i2v-14b", "WAN21_I2V", _wan(*_14B, channels=36, model_type="i2v"), "Wan-AI/Wan2.1-I2V-14B-480P"),
        Model("wan2.2-t2v-a14b", "WAN21_T2V", _wan(*_14B), "Wan-AI/Wan2.2-T2V-A14B", experts=2),
        Model("wan2.2-i2v-a14b", "WAN21_T2V", _wan(*_14B, channels=36), "Wan-AI/Wan2.2-I2V-A14B", experts=2),
        Model("wan2.2-ti2v-5b", "WAN22_T2V", _wan(3072, 14336, 30, channels=48, out_dim=48), "Wan-AI/Wan2.2-TI2V-5B"),
        Model("qwen-image", "QwenImage", _QWEN, "Qwen/Qwen-Image"),
        Model("flux", "Flux", _FLUX, "black-forest-labs/FLUX.1-dev"),
        Model("z-image", "ZImage", _Z_IMAGE, "Tongyi-MAI/Z-Image-Turbo"),
    )
}


def model_named(text: str) -> Model:
    """The row of MODELS, in upper or lower case, with - or _. Raises AdviceError, which lists the names."""
    name = text.strip().lower().replace("_", "-").replace(" ", "-")
    if name in MODELS:
        return MODELS[name]
    near = difflib.get_close_matches(name, MODELS, n=NEAR, cutoff=0.6)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise AdviceError(f"{text!r} is neither a file nor a model known by name.{hint} Names: {', '.join(MODELS)}.")
