"""Small VAEs as core's own VAELoader reads them, built by core's own classes with random weights."""

import importlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

SEED = 6


@dataclass(frozen=True)
class SmallVAE:
    """`module`, `class_name`, `arguments`: core's class. `parts`: prefixes of the tensors that the file has, "" for all
    of them; core fills the rest with what memory holds, so that such a file can only decode."""

    module: str
    class_name: str
    arguments: dict = field(default_factory=dict)
    parts: tuple[str, ...] = ("",)


WAN = {"dim": 8, "z_dim": 16, "dim_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_scales": [], "dropout": 0.0}
KL = {"double_z": True, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 32, "ch_mult": [1, 2, 4, 4]}
KL |= {"num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
TAEHV = ("comfy.taesd.taehv", "TAEHV")
AUTOENCODER_KL = ("comfy.ldm.models.autoencoder", "AutoencoderKL")
DECODER = ("decoder.", "post_quant_conv.", "bn.")

# what the latents are -> the VAE; a new one is a row. Core takes Wan 2.1's (Qwen-Image's too) in any width and Flux's
# with a decoder of any width; where it takes full size only, a tiny autoencoder that it knows stands for the VAE.
VAES = {
    "wan 2.1": SmallVAE("comfy.ldm.wan.vae", "WanVAE", {**WAN, "temperal_downsample": [False, True, True]}),
    "wan 2.2": SmallVAE(*TAEHV, {"latent_channels": 48}),
    "hunyuan 1.5": SmallVAE(*TAEHV, {"latent_channels": 32}),
    "flux": SmallVAE(*AUTOENCODER_KL, {"ddconfig": {**KL, "z_channels": 16}, "embed_dim": 16}, DECODER),
    "flux 2": SmallVAE(
        *AUTOENCODER_KL, {"ddconfig": {**KL, "z_channels": 32, "batch_norm_latent": True}, "embed_dim": 32}, DECODER
    ),
}


def write(path: Path, name: str) -> None:
    """The file of that VAE with random weights in float32, 4 to 50 MB."""
    import comfy.sd  # noqa: F401 - core's VAEs use modules that it imports

    vae = VAES[name]
    built = getattr(importlib.import_module(vae.module), vae.class_name)(**vae.arguments)
    generator = torch.Generator().manual_seed(SEED)
    tensors = {}
    for key, empty in built.state_dict().items():
        if not key.startswith(vae.parts) or not empty.is_floating_point():
            continue
        if empty.squeeze().ndim < 2:  # of a norm, or a bias
            is_factor = key.endswith(("gamma", "running_var")) or (key.endswith("weight") and "norm" in key)
            tensors[key] = torch.ones(empty.shape) if is_factor else torch.zeros(empty.shape)
        else:
            tensors[key] = torch.randn(empty.shape, generator=generator) * empty[0].numel() ** -0.5
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
