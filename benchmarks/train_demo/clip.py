"""The vision encoder: open-clip's tower, narrow, trained to place a frame near the caption of what it shows."""

from itertools import product

import torch
import torch.nn.functional as F
from comfy.clip_model import clip_preprocess

from ...demo.scenes import COLOURS, DIRECTIONS, SCENES, SHAPES, Scene, render
from ..encoders import clip_vision
from .named import Named, heads_apart
from .schedule import Trainer
from .text import WIDTH as TEXT_WIDTH
from .text import Text

WIDTH, MLP, BLOCKS = 80, 160, 2  # a head of ViT-H is 80 wide, and this tower has the one
BATCH, STEPS, RATE = 24, 800, 2e-3
KINDS = tuple(product(COLOURS, SHAPES))  # what a single frame can tell


class Vision(Named):
    """The vision tower on the tensors as LightX2V names them."""

    def __init__(self, seed: int):
        super().__init__(clip_vision(seed, WIDTH, MLP, BLOCKS, projection=TEXT_WIDTH))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """images [B, 3, 224, 224] as core's clip_preprocess makes them -> (hidden states before the last block
        [B, 257, WIDTH], embedding [B, TEXT_WIDTH])."""
        patches = F.conv2d(images, self["visual.patch_embedding.weight"], stride=14).flatten(2).transpose(1, 2)
        x = torch.cat([self["visual.cls_embedding"].expand(len(images), -1, -1), patches], dim=1)
        x = self.layer_norm("visual.pre_norm", x + self["visual.pos_embedding"])
        blocks = self.count("visual.transformer.")
        before_last = x
        for index in range(blocks):
            before_last = x
            block = f"visual.transformer.{index}"
            qkv = self.linear(f"{block}.attn.to_qkv", self.layer_norm(f"{block}.norm1", x)).chunk(3, dim=-1)
            y = F.scaled_dot_product_attention(*(heads_apart(part, WIDTH // 80) for part in qkv))
            x = x + self.linear(f"{block}.attn.proj", y.transpose(1, 2).flatten(2))
            y = F.gelu(self.linear(f"{block}.mlp.0", self.layer_norm(f"{block}.norm2", x)))
            x = x + self.linear(f"{block}.mlp.2", y)
        return before_last, self.layer_norm("visual.post_norm", x[:, 0]) @ self["visual.head"]


@torch.no_grad()
def classes(text: Text, device: torch.device) -> torch.Tensor:
    """A unit vector [TEXT_WIDTH] for each of KINDS: the mean of the text encoder's outputs over the tokens and the
    directions, less the mean over all kinds."""
    means = []
    for colour, shape in KINDS:
        ids, real = text.tokens([Scene(colour, shape, direction).caption for direction in DIRECTIONS])
        means.append(text(ids.to(device), real.to(device)).mean((0, 1)))
    vectors = torch.stack(means)
    return F.normalize(vectors - vectors.mean(0), dim=1)


def frames(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(random frames of random scenes as [count, 3, 224, 224] for the encoder, which of KINDS each shows)."""
    picks = torch.randint(len(SCENES), (count,), generator=generator).tolist()
    videos = render([SCENES[i] for i in picks], generator)
    at = torch.randint(videos.shape[1], (count,), generator=generator)
    kinds = [KINDS.index((SCENES[i].colour, SCENES[i].shape)) for i in picks]
    return clip_preprocess(videos[torch.arange(count), at], size=224), torch.tensor(kinds)


def train(seed: int, text: Text, device: torch.device, shorten: int = 1) -> tuple[Vision, float]:
    """(vision encoder, seconds of training). `text` is not changed."""
    generator = torch.Generator().manual_seed(seed)
    goals = classes(text, device)
    vision = Vision(seed).to(device)
    trainer = Trainer(vision, RATE, max(1, STEPS // shorten), "clip")
    for _ in trainer:
        images, kinds = frames(BATCH, generator)
        _, embedding = vision(images.to(device))
        likeness = F.normalize(embedding, dim=1) @ goals.T * vision["log_scale"].exp().clamp(max=30)
        trainer.step(F.cross_entropy(likeness, kinds.to(device)))
    return trainer.averaged.eval(), trainer.seconds


@torch.no_grad()
def accuracy(vision: Vision, text: Text, generator: torch.Generator, device: torch.device, count: int) -> float:
    """Share of random frames whose nearest caption has their colour and shape."""
    goals = classes(text, device)
    images, kinds = frames(count, generator)
    found = torch.cat([vision(part.to(device))[1] for part in images.split(24)]) @ goals.T
    return float((found.argmax(1).cpu() == kinds).float().mean())
