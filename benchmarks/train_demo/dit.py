"""The diffusion model and the text encoder, trained together on latents of the training scenes by flow matching."""

import random

import torch
import torch.nn.functional as F
from comfy.latent_formats import Wan21
from comfy.ldm.flux.layers import EmbedND
from comfy.ldm.wan.model import sinusoidal_embedding_1d
from comfy.ldm.wan.vae import WanVAE

from ...demo.recipe import SPREAD
from ...demo.scenes import TRAINING, Scene, render
from ..wan import FREQUENCIES, LATENT_CHANNELS, PATCH, WanSize, dit
from . import vae as vae_
from .named import Named
from .schedule import Trainer
from .text import WIDTH as TEXT_WIDTH
from .text import Text

SIZE = WanSize(dim=128, ffn=512, blocks=4, text=TEXT_WIDTH)
HEAD = 128  # the one width of a head that ComfyUI recognises
CONTEXT = 512  # tokens that ComfyUI pads a prompt to
EACH = 16  # videos of each scene
BATCH, STEPS, RATE = 48, 4000, 2e-3
DROPPED = 0.1  # share of captions replaced by the empty prompt
SHIFT = 6.0  # of half of the noise levels; the other half are uniform


class Wan(Named):
    """Core's WanModel on named tensors: a plain rotary embedding, which has a gradient, and a prompt's hundreds of
    zero padding tokens as the one key that they are."""

    def __init__(self, seed: int, size: WanSize = SIZE):
        super().__init__(dit(seed, size, image_to_video=False))

    def forward(
        self, latents: torch.Tensor, noise: torch.Tensor, text: torch.Tensor, real: torch.Tensor
    ) -> torch.Tensor:
        """latents [B, C, T, H, W] in the model's space, noise levels [B] in 0 to 1, text [B, L, text width] with
        `real` [B, L] -> velocity [B, 16, T, H, W]."""
        x = F.conv3d(latents, self["patch_embedding.weight"], self["patch_embedding.bias"], stride=PATCH)
        grid = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        time = self.linear("time_embedding.0", sinusoidal_embedding_1d(FREQUENCIES, noise * 1000))
        time = self.linear("time_embedding.2", F.silu(time))
        modulation = self.linear("time_projection.1", F.silu(time)).unflatten(1, (6, -1))
        context, mask = self.context(text, real)
        rotation = _rotation(grid, x.device)
        for index in range(self.count("blocks.")):
            x = self.block(f"blocks.{index}", x, modulation, context, mask, rotation)
        shift, scale = (self["head.modulation"] + time[:, None]).chunk(2, dim=1)
        x = self.linear("head.head", _norm(x) * (1 + scale) + shift)
        x = x.unflatten(1, tuple(grid)).unflatten(-1, (*PATCH, LATENT_CHANNELS))
        return torch.einsum("bfhwpqrc->bcfphqwr", x).flatten(6, 7).flatten(4, 5).flatten(2, 3)

    def context(self, text: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(keys and values [B, L + 1, dim], additive mask [B, 1, 1, L + 1]): the last key stands for the padding."""
        text = F.pad(text, (0, 0, 0, 1))
        hidden = F.gelu(self.linear("text_embedding.0", text), approximate="tanh")
        padding = (CONTEXT - real.sum(1, keepdim=True)).log()
        mask = torch.zeros(real.shape, device=text.device).masked_fill(~real, -1e9)
        return self.linear("text_embedding.2", hidden), torch.cat([mask, padding], dim=1)[:, None, None]

    def block(self, name: str, x, modulation, context, mask, rotation) -> torch.Tensor:
        e = (self[f"{name}.modulation"] + modulation).chunk(6, dim=1)
        y = _norm(x) * (1 + e[1]) + e[0]
        q = _rotate(self.rms_norm(f"{name}.self_attn.norm_q", self.linear(f"{name}.self_attn.q", y)), rotation)
        k = _rotate(self.rms_norm(f"{name}.self_attn.norm_k", self.linear(f"{name}.self_attn.k", y)), rotation)
        v = self.linear(f"{name}.self_attn.v", y)
        x = x + self.linear(f"{name}.self_attn.o", attention(q, k, v)) * e[2]
        x = x + self.cross_attention(f"{name}.cross_attn", self.layer_norm(f"{name}.norm3", x, 1e-6), context, mask)
        y = _norm(x) * (1 + e[4]) + e[3]
        y = self.linear(f"{name}.ffn.2", F.gelu(self.linear(f"{name}.ffn.0", y), approximate="tanh"))
        return x + y * e[5]

    def cross_attention(self, name: str, x, context, mask) -> torch.Tensor:
        q = self.rms_norm(f"{name}.norm_q", self.linear(f"{name}.q", x))
        k = self.rms_norm(f"{name}.norm_k", self.linear(f"{name}.k", context))
        return self.linear(f"{name}.o", attention(q, k, self.linear(f"{name}.v", context), mask))


def _norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def attention(q, k, v, mask=None) -> torch.Tensor:
    def apart(x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (-1, HEAD)).transpose(1, 2)

    return F.scaled_dot_product_attention(apart(q), apart(k), apart(v), mask).transpose(1, 2).flatten(2)


def _rotation(grid: torch.Size, device: torch.device) -> torch.Tensor:
    """Core's rotations of the positions, [1, L, 1, HEAD / 2, 2, 2]."""
    axes = [HEAD - 4 * (HEAD // 6), 2 * (HEAD // 6), 2 * (HEAD // 6)]
    embedder = EmbedND(dim=HEAD, theta=10000.0, axes_dim=axes)
    places = torch.stack(torch.meshgrid(*(torch.arange(n, device=device) for n in grid), indexing="ij"), dim=-1)
    return embedder(places.reshape(1, -1, 3).float()).movedim(1, 2)


def _rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """x [B, L, dim] -> the same with pairs of channels turned."""
    pairs = x.unflatten(-1, (-1, HEAD // 2, 1, 2))
    return (rotation[..., 0] * pairs[..., 0] + rotation[..., 1] * pairs[..., 1]).flatten(2)


class Pair(torch.nn.Module):
    """Text encoder and diffusion model as one thing to train."""

    def __init__(self, text: Text, wan: Wan):
        super().__init__()
        self.text, self.wan = text, wan

    def forward(self, latents: torch.Tensor, noise: torch.Tensor, captions: list[str]) -> torch.Tensor:
        unique = list(dict.fromkeys(captions))
        ids, real = (t.to(latents.device) for t in self.text.tokens(unique))
        rows = torch.tensor([unique.index(caption) for caption in captions], device=latents.device)
        return self.wan(latents, noise, self.text(ids, real)[rows], real[rows])


@torch.no_grad()
def latents_of(vae: WanVAE, videos: torch.Tensor, device: torch.device) -> torch.Tensor:
    """videos [B, T, H, W, 3] in 0 to 1 -> latents [B, 16, T', H', W'] in the model's space, on the CPU."""
    clips = (videos.permute(0, 4, 1, 2, 3) * 2 - 1).split(16)
    return Wan21().process_in(torch.cat([vae_.encode(vae, clip.to(device)).cpu() for clip in clips]))


def train(
    seed: int, vae: WanVAE, spiece: bytes, device: torch.device, shorten: int = 1
) -> tuple[Text, Wan, float, float]:
    """(text encoder, diffusion model, seconds of training, last loss averaged over a hundred steps)."""
    generator = torch.Generator().manual_seed(seed)
    pick = random.Random(seed)
    scenes = training_scenes(EACH, shorten)
    latents = latents_of(vae, render(scenes, generator, SPREAD), device)
    pair = Pair(Text(seed, spiece), Wan(seed)).to(device)
    trainer = Trainer(pair, RATE, max(1, STEPS // shorten), "dit")
    recent: list[float] = []
    for _ in trainer:
        rows = torch.randint(len(scenes), (BATCH,), generator=generator)
        mixed, level, velocity = noised(latents[rows].to(device), generator)
        loss = F.mse_loss(pair(mixed, level, some_captions([scenes[row] for row in rows], pick)), velocity)
        trainer.step(loss)
        recent = [*recent[-99:], loss.item()]
    averaged = trainer.averaged.eval()
    return averaged.text, averaged.wan, trainer.seconds, sum(recent) / len(recent)


def noised(clean: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """clean [B, ...] -> (mixed with noise, noise levels [B] in 0 to 1, the velocity noise - clean to be learned)."""
    level = torch.rand(len(clean), generator=generator)
    shifted = SHIFT * level / (1 + (SHIFT - 1) * level)
    level = torch.where(torch.arange(len(clean)) % 2 == 0, level, shifted).to(clean)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return torch.lerp(clean, noise, level.reshape(-1, 1, 1, 1, 1)), level, noise - clean


def training_scenes(each: int, shorten: int) -> list[Scene]:
    """`each` of every scene to train on; fewer of fewer where training is only tried."""
    return [scene for scene in TRAINING[:: -(-shorten // 50)] for _ in range(-(-each // shorten))]


def some_captions(scenes: list[Scene], pick: random.Random) -> list[str]:
    """A caption of each scene, now and then none."""
    return ["" if pick.random() < DROPPED else pick.choice(scene.captions) for scene in scenes]
