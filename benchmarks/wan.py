"""Weights of a small Wan 2.1 in the original key names: the diffusion model (text or image to video) and its VAE.

Untrained, but initialised so that activations stay near one through every block, that the residual stream of a block's
input returns at the head (the sampler removes the noise), and that what remains is what the blocks and the prompt say.
"""

from dataclasses import dataclass

import torch

from ..demo.trained import Tensors
from ..demo.widen import IMAGE_FEATURES

LATENT_CHANNELS = 16
PATCH = (1, 2, 2)
FREQUENCIES = 256  # width of the sinusoidal time embedding
MASK_AND_IMAGE_CHANNELS = 20  # what image to video puts beside the noisy latent
# Taps of a blur of 1 or 3 pixels.
BLUR = {1: torch.tensor([1.0]), 3: torch.tensor([0.25, 0.5, 0.25])}


@dataclass(frozen=True)
class WanSize:
    """The one head size that ComfyUI recognises is 128: `dim` is a multiple of it."""

    dim: int = 256
    ffn: int = 512
    blocks: int = 4
    text: int = 64


class Weights:
    """Collects named random tensors, all from one seeded generator, so the order of the calls matters."""

    def __init__(self, seed: int):
        self.tensors: Tensors = {}
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, std: float = 1.0) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator) * std

    def linear(self, name: str, rows: int, columns: int, gain: float = 1.0, bias: float | None = 0.02) -> None:
        """weight [rows, columns] that keeps the variance times gain^2; bias: its deviation, None for no bias."""
        self.tensors[f"{name}.weight"] = self.normal(rows, columns, std=gain * columns**-0.5)
        if bias is not None:
            self.tensors[f"{name}.bias"] = self.normal(rows, std=bias)

    def conv(self, name: str, rows: int, columns: int, *kernel: int, gain: float = 1.0) -> None:
        """A convolution that mixes channels at random, blurs over height and width, and sees the present frame only."""
        height, width = (BLUR[size] for size in kernel[-2:])
        taps = torch.outer(height, width)
        if len(kernel) == 3:
            taps = torch.stack([torch.zeros_like(taps)] * (kernel[0] - 1) + [taps])
        mix = self.normal(rows, columns, std=gain * columns**-0.5)
        self.tensors[f"{name}.weight"] = mix.reshape(rows, columns, *(1 for _ in kernel)) * taps
        self.tensors[f"{name}.bias"] = torch.zeros(rows)

    def copy_frames(self, name: str, rows: int, columns: int) -> None:
        """A 3 x 1 x 1 convolution over time that returns each frame `rows / columns` times."""
        self.tensors[f"{name}.weight"] = torch.zeros(rows, columns, 3, 1, 1)
        self.tensors[f"{name}.weight"][:, :, 2, 0, 0] = torch.eye(columns).repeat(rows // columns, 1)
        self.tensors[f"{name}.bias"] = torch.zeros(rows)

    def constant(self, name: str, value: float, *shape: int) -> None:
        self.tensors[name] = torch.full(shape, value)

    def norm(self, name: str, width: int) -> None:
        """An affine LayerNorm that does nothing yet."""
        self.constant(f"{name}.weight", 1.0, width)
        self.constant(f"{name}.bias", 0.0, width)


def dit(seed: int, size: WanSize, image_to_video: bool) -> Tensors:
    """State dict of a WanModel, float32."""
    w = Weights(seed)
    width = size.dim
    patch = LATENT_CHANNELS * torch.Size(PATCH).numel()
    # orthonormal columns: the head can undo the patch embedding
    basis = torch.linalg.qr(w.normal(width, patch))[0] * (width / patch) ** 0.5
    embedding = basis.reshape(width, LATENT_CHANNELS, *PATCH)
    if image_to_video:
        beside = w.normal(width, MASK_AND_IMAGE_CHANNELS, *PATCH, std=0.3 * (MASK_AND_IMAGE_CHANNELS * 4) ** -0.5)
        embedding = torch.cat([embedding, beside], dim=1)
    w.tensors["patch_embedding.weight"] = embedding
    w.constant("patch_embedding.bias", 0.0, width)
    # without a bias the padding behind a prompt stays zero and takes no part in cross-attention's sum
    w.linear("text_embedding.0", width, size.text, gain=2.0, bias=0.0)
    w.linear("text_embedding.2", width, width, bias=0.0)
    w.linear("time_embedding.0", width, FREQUENCIES)
    w.linear("time_embedding.2", width, width)
    w.linear("time_projection.1", 6 * width, width, gain=0.3)
    for index in range(size.blocks):
        dit_block(w, f"blocks.{index}", size, image_to_video)
    # the head's columns follow (patch, channel), the patch embedding's (channel, patch)
    undo = basis.reshape(width, LATENT_CHANNELS, patch // LATENT_CHANNELS).permute(2, 1, 0).reshape(patch, width)
    w.tensors["head.head.weight"] = undo * (patch / width)
    w.constant("head.head.bias", 0.0, patch)
    w.tensors["head.modulation"] = w.normal(1, 2, width, std=0.02)
    if image_to_video:
        w.norm("img_emb.proj.0", IMAGE_FEATURES)
        w.linear("img_emb.proj.1", IMAGE_FEATURES, IMAGE_FEATURES)
        w.linear("img_emb.proj.3", width, IMAGE_FEATURES)
        w.norm("img_emb.proj.4", width)
    return w.tensors


def dit_block(w: Weights, block: str, size: WanSize, image_to_video: bool) -> None:
    width = size.dim
    modulation = w.normal(1, 6, width, std=0.1)
    modulation[:, [2, 5]] += 0.25  # the gates of self-attention and ffn
    w.tensors[f"{block}.modulation"] = modulation
    for attention in ("self_attn", "cross_attn"):
        across = attention == "cross_attn"
        image = ["k_img", "v_img"] if across and image_to_video else []
        for name in ("q", "k", "v", "o", *image):
            loud = 2.0 if across and name == "v" else 1.0  # a few prompt tokens among 512
            silent = across and name in ("k", "v")
            w.linear(f"{block}.{attention}.{name}", width, width, gain=loud, bias=0.0 if silent else 0.02)
        for name in ("norm_q", "norm_k", *(["norm_k_img"] if image else [])):
            w.constant(f"{block}.{attention}.{name}.weight", 1.2 if across else 1.0, width)
    w.norm(f"{block}.norm3", width)
    w.linear(f"{block}.ffn.0", size.ffn, width)
    w.linear(f"{block}.ffn.2", width, size.ffn, gain=1.5)


def vae(seed: int, width: int = 8) -> Tensors:
    """State dict of a Wan VAE, float32: stages of width, 2 width, 4 width and 4 width; 8 x 8 pixels to a latent one,
    4 frames to a latent one."""
    w = Weights(seed)
    stages = [width, 2 * width, 4 * width, 4 * width]
    widest = stages[-1]
    _vae_encoder(w, stages)
    w.conv("conv1", 2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1, 1, 1)
    w.conv("conv2", LATENT_CHANNELS, LATENT_CHANNELS, 1, 1, 1)
    w.conv("decoder.conv1", widest, LATENT_CHANNELS, 3, 3, 3)
    _vae_middle(w, "decoder", widest)
    index, incoming = 0, widest
    for stage, outgoing in enumerate(reversed(stages)):
        for _ in range(3):
            _vae_residual(w, f"decoder.upsamples.{index}", incoming, outgoing)
            index, incoming = index + 1, outgoing
        if stage < 3:
            w.conv(f"decoder.upsamples.{index}.resample.1", outgoing // 2, outgoing, 3, 3, gain=1.5)
            if stage < 2:
                w.copy_frames(f"decoder.upsamples.{index}.time_conv", 2 * outgoing, outgoing)
            index, incoming = index + 1, outgoing // 2
    w.constant("decoder.head.0.gamma", 1.0, width, 1, 1, 1)
    w.conv("decoder.head.2", 3, width, 3, 3, 3, gain=2.0)
    return w.tensors


def _vae_encoder(w: Weights, stages: list[int]) -> None:
    w.conv("encoder.conv1", stages[0], 3, 3, 3, 3)
    index, incoming = 0, stages[0]
    for stage, outgoing in enumerate(stages):
        for _ in range(2):
            _vae_residual(w, f"encoder.downsamples.{index}", incoming, outgoing)
            index, incoming = index + 1, outgoing
        if stage < 3:
            w.conv(f"encoder.downsamples.{index}.resample.1", outgoing, outgoing, 3, 3)
            if stage > 0:
                w.copy_frames(f"encoder.downsamples.{index}.time_conv", outgoing, outgoing)
            index += 1
    _vae_middle(w, "encoder", stages[-1])
    w.constant("encoder.head.0.gamma", 1.0, stages[-1], 1, 1, 1)
    w.conv("encoder.head.2", 2 * LATENT_CHANNELS, stages[-1], 3, 3, 3)


def _vae_residual(w: Weights, name: str, incoming: int, outgoing: int) -> None:
    w.constant(f"{name}.residual.0.gamma", 1.0, incoming, 1, 1, 1)
    w.conv(f"{name}.residual.2", outgoing, incoming, 3, 3, 3, gain=1.5)
    w.constant(f"{name}.residual.3.gamma", 1.0, outgoing, 1, 1, 1)
    w.conv(f"{name}.residual.6", outgoing, outgoing, 3, 3, 3, gain=0.5)
    if incoming != outgoing:
        w.conv(f"{name}.shortcut", outgoing, incoming, 1, 1, 1)


def _vae_middle(w: Weights, part: str, width: int) -> None:
    _vae_residual(w, f"{part}.middle.0", width, width)
    w.constant(f"{part}.middle.1.norm.gamma", 1.0, width, 1, 1)
    w.conv(f"{part}.middle.1.to_qkv", 3 * width, width, 1, 1)
    w.conv(f"{part}.middle.1.proj", width, width, 1, 1, gain=0.3)
    _vae_residual(w, f"{part}.middle.2", width, width)
