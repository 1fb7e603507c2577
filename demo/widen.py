"""The demo's narrow vision encoder made as wide as Wan's, without a change of what it computes.

ComfyUI's Wan takes image features of the width of ViT-H alone. Every feature is therefore repeated, and a layer that
sums over features divides by the number of repetitions: the idea of Net2Net (Chen, Goodfellow, Shlens, "Net2Net:
Accelerating Learning via Knowledge Transfer", ICLR 2016). Mean and variance of repeated features are those of the
features, so that LayerNorm agrees too, and each of ViT-H's 16 heads becomes the narrow encoder's one.
"""

import re
from dataclasses import dataclass

import torch

from .trained import Tensors

IMAGE_FEATURES = 1280  # what Wan's img_emb takes: the width of the CLIP encoder


@dataclass(frozen=True)
class Axes:
    """Dimensions of a tensor that run over features: `out` over those it makes, `into` over those it sums.
    `parts`: of how many matrices it is a stack along `out`."""

    out: int | None = None
    into: int | None = None
    parts: int = 1


# The name of a tensor without "visual." and the block's number. The hidden features of the mlp and the embedding that
# `head` makes stay as many as they are.
NARROW = Axes()
CLIP = {
    "log_scale": NARROW,
    "cls_embedding": Axes(out=2),
    "pos_embedding": Axes(out=2),
    "patch_embedding.weight": Axes(out=0),
    "pre_norm.weight": Axes(out=0),
    "pre_norm.bias": Axes(out=0),
    "post_norm.weight": Axes(out=0),
    "post_norm.bias": Axes(out=0),
    "head": Axes(into=0),
    "norm1.weight": Axes(out=0),
    "norm1.bias": Axes(out=0),
    "norm2.weight": Axes(out=0),
    "norm2.bias": Axes(out=0),
    "attn.to_qkv.weight": Axes(out=0, into=1, parts=3),
    "attn.to_qkv.bias": Axes(out=0, parts=3),
    "attn.proj.weight": Axes(out=0, into=1),
    "attn.proj.bias": Axes(out=0),
    "mlp.0.weight": Axes(into=1),
    "mlp.0.bias": NARROW,
    "mlp.2.weight": Axes(out=0),
    "mlp.2.bias": Axes(out=0),
}
IMAGE_EMBEDDING = {
    "img_emb.proj.0.weight": Axes(out=0),
    "img_emb.proj.0.bias": Axes(out=0),
    "img_emb.proj.1.weight": Axes(out=0, into=1),
    "img_emb.proj.1.bias": Axes(out=0),
    "img_emb.proj.3.weight": Axes(into=1),
}


def clip_vision(narrow: Tensors) -> Tensors:
    """Wan's vision tower of the width [IMAGE_FEATURES] from one of a single head of 80, in the same names and dtypes:
    its hidden states are the narrow one's repeated, its embedding is the narrow one's."""
    copies = IMAGE_FEATURES // narrow["visual.cls_embedding"].shape[2]
    return {
        name: wide(tensor, CLIP[re.sub(r"^visual\.(transformer\.\d+\.)?", "", name)], copies)
        for name, tensor in narrow.items()
    }


def image_to_video(dit: Tensors, added: Tensors) -> Tensors:
    """A Wan image-to-video model that takes features of the width [IMAGE_FEATURES], from a text-to-video model and
    what was trained on top of it (trained.image_to_video)."""
    copies = IMAGE_FEATURES // added["img_emb.proj.0.weight"].shape[0]
    more = {name: wide(tensor, IMAGE_EMBEDDING.get(name, NARROW), copies) for name, tensor in added.items()}
    patch = "patch_embedding.weight"
    return {**dit, **more, patch: torch.cat([dit[patch], added[patch]], dim=1)}


def wide(tensor: torch.Tensor, axes: Axes, copies: int) -> torch.Tensor:
    """The tensor with its features repeated `copies` times, the first ones of all before those again."""
    if axes.into is not None:
        tensor = torch.cat([tensor] * copies, dim=axes.into) / copies
    if axes.out is not None:
        parts = tensor.chunk(axes.parts, dim=axes.out)
        tensor = torch.cat([part for part in parts for _ in range(copies)], dim=axes.out)
    return tensor
