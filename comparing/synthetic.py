"""Inputs for models that are compared without a graph: empty latents and random prompts. Needs ComfyUI on the path."""

import torch

from ..linear.layers import linear_layers
from .errors import CompareError

TOKENS = 64
POSITIVE, NEGATIVE = 0, 1  # added to the seed
# the layer that takes the text encoder's output, by family
TEXT_LAYERS = (
    "text_embedding.0",  # Wan
    "txt_in",  # Flux, Qwen-Image, Chroma
    "txt_in.input_embedder",  # HunyuanVideo
    "cap_embedder.1",  # Lumina 2, Z-Image
    "context_embedder",  # Stable Diffusion 3
)
# the layer that takes the pooled vector of the whole prompt, if there is one
POOLED_LAYERS = ("vector_in.in_layer", "y_embedder.mlp.0")


def conditioning(model, seed: int) -> list:
    """Core's conditioning for a ModelPatcher: TOKENS normally distributed tokens of the width of its text layer. Raises
    CompareError if the model has no layer of TEXT_LAYERS."""
    layers = linear_layers(model.model.diffusion_model)
    width, pooled = (
        next((layers[name].in_features for name in names if name in layers), None)
        for names in (TEXT_LAYERS, POOLED_LAYERS)
    )
    if width is None:
        raise CompareError(
            f"There is no prompt of random numbers for a {type(model.model).__name__}: compare it in a graph, with the "
            "node Compare Models."
        )
    generator = torch.Generator().manual_seed(seed)
    extra = {} if pooled is None else {"pooled_output": torch.randn((1, pooled), generator=generator)}
    return [[torch.randn((1, TOKENS, width), generator=generator), extra]]


def empty_latent(model, width: int, height: int, frames: int) -> dict:
    """Core's LATENT of zeros for a video or picture. width, height: in pixels. frames: ignored for image models."""
    kind = model.model.latent_format
    size = [height // kind.spacial_downscale_ratio, width // kind.spacial_downscale_ratio]
    if kind.latent_dimensions == 3:
        size = [(frames - 1) // kind.temporal_downscale_ratio + 1, *size]
    return {"samples": torch.zeros((1, kind.latent_channels, *size))}
