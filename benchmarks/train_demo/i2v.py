"""Image to video: what Wan's variant adds to the diffusion model (inputs for the picture, keys and values for what the
vision encoder sees), trained while the rest stays as it is."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from comfy.clip_model import clip_preprocess
from comfy.ldm.wan.vae import WanVAE

from ...demo.recipe import SPREAD
from ...demo.scenes import Scene, render
from ...demo.trained import Tensors
from ..wan import MASK_AND_IMAGE_CHANNELS, PATCH, WanSize, Weights
from .clip import WIDTH, Vision
from .dit import SIZE, Wan, attention, latents_of, noised, some_captions, training_scenes
from .named import Named
from .sampling import Model
from .schedule import Trainer
from .text import Text

EACH, BATCH, STEPS, RATE = 8, 32, 400, 2e-3


@dataclass(frozen=True)
class Base:
    """What image to video is built on; none of it is changed."""

    vae: WanVAE
    text: Text
    wan: Wan
    vision: Vision


def added(seed: int, size: WanSize = SIZE) -> Tensors:
    """The tensors that a text-to-video model lacks, `patch_embedding.weight` being the columns of the picture alone."""
    w = Weights(seed)
    w.tensors["patch_embedding.weight"] = torch.zeros(size.dim, MASK_AND_IMAGE_CHANNELS, *PATCH)
    w.norm("img_emb.proj.0", WIDTH)
    w.linear("img_emb.proj.1", WIDTH, WIDTH)
    w.linear("img_emb.proj.3", size.dim, WIDTH)
    w.norm("img_emb.proj.4", size.dim)
    for index in range(size.blocks):
        name = f"blocks.{index}.cross_attn"
        w.linear(f"{name}.k_img", size.dim, size.dim)
        w.linear(f"{name}.v_img", size.dim, size.dim, gain=0.1)
        w.constant(f"{name}.norm_k_img.weight", 1.0, size.dim)
    return w.tensors


class ImageToVideo(Wan):
    """`Wan` with the added tensors, of which alone there are parameters."""

    def __init__(self, base: Wan, added_: Tensors):
        Named.__init__(self, added_)
        self._base = [base]  # in a list, so that it is no submodule
        self._image = torch.empty(0)

    def __getitem__(self, name: str) -> torch.Tensor:
        if name == "patch_embedding.weight":
            return torch.cat([self._base[0][name], super().__getitem__(name)], dim=1)
        return super().__getitem__(name) if name in self.places else self._base[0][name]

    def __contains__(self, name: str) -> bool:
        return name in self.places or name in self._base[0]

    def count(self, prefix: str) -> int:
        return self._base[0].count(prefix)

    def __deepcopy__(self, memo):
        copy = ImageToVideo(self._base[0], self.tensors())
        return copy.to(next(self.parameters()).device)

    def see(self, features: torch.Tensor) -> "ImageToVideo":
        """features [B, 257, WIDTH] of the pictures of the batch that comes next."""
        x = self.linear("img_emb.proj.1", self.layer_norm("img_emb.proj.0", features))
        self._image = self.layer_norm("img_emb.proj.4", self.linear("img_emb.proj.3", F.gelu(x)))
        return self

    def of(self, text: Text, beside: torch.Tensor, features: torch.Tensor) -> Model:
        """The model of these pictures: (latents, noise levels, captions) -> velocity."""

        def velocity(latents: torch.Tensor, noise: torch.Tensor, captions: list[str]) -> torch.Tensor:
            with torch.no_grad():
                ids, real = (t.to(latents.device) for t in text.tokens(captions))
                context = text(ids, real)
            return self.see(features)(torch.cat([latents, beside], dim=1), noise, context, real)

        return velocity

    def cross_attention(self, name: str, x, context, mask) -> torch.Tensor:
        q = self.rms_norm(f"{name}.norm_q", self.linear(f"{name}.q", x))
        k = self.rms_norm(f"{name}.norm_k", self.linear(f"{name}.k", context))
        k_image = self.rms_norm(f"{name}.norm_k_img", self.linear(f"{name}.k_img", self._image))
        seen = attention(q, k_image, self.linear(f"{name}.v_img", self._image))
        return self.linear(f"{name}.o", attention(q, k, self.linear(f"{name}.v", context), mask) + seen)


@torch.no_grad()
def pictures(base: Base, videos: torch.Tensor, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """First frames of videos [B, T, H, W, 3] as WanImageToVideo and core prepare them: (mask and latents
    [B, 20, T', H', W'] in the model's space, features [B, 257, WIDTH]), both on the CPU."""
    shown = torch.full_like(videos, 0.5)
    shown[:, 0] = videos[:, 0]
    latents = latents_of(base.vae, shown, device)
    known = torch.zeros_like(latents[:, :4])
    known[:, :, 0] = 1
    images = clip_preprocess(videos[:, 0], size=224)
    features = torch.cat([base.vision(part.to(device))[0].cpu() for part in images.split(16)])
    return torch.cat([known, latents], dim=1), features


def train(seed: int, base: Base, device: torch.device, shorten: int = 1) -> tuple[Tensors, float, float]:
    """(the added tensors, seconds of training, last loss averaged over a hundred steps)."""
    generator = torch.Generator().manual_seed(seed)
    pick = random.Random(seed)
    scenes = training_scenes(EACH, shorten)
    videos = render(scenes, generator, SPREAD)
    clean = latents_of(base.vae, videos, device)
    beside, features = pictures(base, videos, device)
    model = ImageToVideo(base.wan, added(seed)).to(device)
    trainer = Trainer(model, RATE, max(1, STEPS // shorten), "i2v")
    recent: list[float] = []
    for _ in trainer:
        rows = torch.randint(len(scenes), (BATCH,), generator=generator)
        mixed, level, velocity = noised(clean[rows].to(device), generator)
        captions = some_captions([scenes[row] for row in rows], pick)
        found = model.of(base.text, beside[rows].to(device), features[rows].to(device))(mixed, level, captions)
        loss = F.mse_loss(found, velocity)
        trainer.step(loss)
        recent = [*recent[-99:], loss.item()]
    return trainer.averaged.tensors(), trainer.seconds, sum(recent) / len(recent)


def starter(
    base: Base, tensors: Tensors, generator: torch.Generator, device: torch.device
) -> Callable[[list[Scene]], Model]:
    """Scenes -> the model that starts from a random first frame of each, for guided sampling."""
    model = ImageToVideo(base.wan, tensors).to(device)

    def start(scenes: list[Scene]) -> Model:
        beside, features = pictures(base, render(scenes, generator, SPREAD), device)
        return model.of(base.text, beside.repeat(2, 1, 1, 1, 1).to(device), features.repeat(2, 1, 1).to(device))

    return start
