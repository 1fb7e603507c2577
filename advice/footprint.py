"""What a model needs and computes for a picture or video of some size, from its layer table."""

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import comfy.model_detection
import comfy.supported_models
import torch

from ..checkpoints import Checkpoint, Weights
from ..common.log import silence
from ..core.activations import activation_bytes, reserved_bytes
from ..formats import FORMATS
from ..layer_rules.selection import select
from ..runtime.offload.blocks import blocks_of
from .errors import AdviceError
from .models import Model
from .placing import Weight
from .size import PICTURE, VIDEO, Size

META, DTYPE = torch.device("meta"), torch.bfloat16
# bytes of a value in 16 bits
PLAIN = 2
WITH_FRAMES = (2, 3)
# layers that see the text, and those that see one vector for all tokens; the others see the picture or video
TEXT = re.compile(r"cross_attn\.[kv](_img)?$|attn2\.to_[kv]$|txt_|add_[qkv]_proj|to_add_out|context|cap_|text_")
VECTOR = re.compile(r"_mod\b|modulation|time|vector_in|guidance")
TEXT_TOKENS = 512


@dataclass(frozen=True)
class Footprint:
    """`layers`: every layer with a matrix -> (N, K); `names`: of all tensors; `plain`: bytes of the others, in 16 bits.
    `blocks`: names of the blocks. `tokens`: of the picture or video, in the model. `activations`: bytes that ComfyUI
    reserves for what is between the layers, and `reserve`: those that it keeps free. `experts`: models that take turns.
    """

    title: str
    size: Size
    layers: Mapping[str, tuple[int, int]]
    names: tuple[str, ...]
    plain: int
    blocks: tuple[str, ...]
    tokens: int
    activations: int
    reserve: int
    experts: int = 1

    @functools.cached_property
    def width(self) -> int:
        """Channels of the tokens: the input width that most of the layers in blocks have."""
        inside = [shape[1] for name, shape in self.layers.items() if self.block_of(name)]
        return Counter(inside or [shape[1] for shape in self.layers.values()]).most_common(1)[0][0]

    def block_of(self, layer: str) -> str:
        """The block that a layer is in, "" for none."""
        return self._blocks_of[layer]

    def tokens_of(self, layer: str) -> int:
        """Rows that a layer multiplies in one call of the model."""
        return self._tokens_of[layer]

    @functools.cached_property
    def _blocks_of(self) -> dict[str, str]:
        return {
            layer: next((block for block in self.blocks if layer.startswith(f"{block}.")), "") for layer in self.layers
        }

    @functools.cached_property
    def _tokens_of(self) -> dict[str, int]:
        seen = {True: TEXT_TOKENS, False: self.tokens}
        return {layer: 1 if VECTOR.search(layer) else seen[bool(TEXT.search(layer))] for layer in self.layers}

    @functools.cached_property
    def _chosen(self) -> dict[str, dict[str, str]]:
        return {}

    def formats(self, format_name: str | None) -> dict[str, str]:
        """Layer -> format, for those that are quantized where the model is; empty for 16 bits."""
        if format_name is None:
            return {}
        if format_name not in self._chosen:
            self._chosen[format_name] = select(self.layers, self.names, format_name).formats
        return self._chosen[format_name]

    def weights(self, formats: Mapping[str, str]) -> Weight:
        """With the formats of some layers; the others in 16 bits."""
        sizes: Counter[str] = Counter({"": self.plain})
        for layer, shape in self.layers.items():
            sizes[self.block_of(layer)] += nbytes(formats.get(layer), shape)
        largest = sorted((size for block, size in sizes.items() if block), reverse=True)[:2]
        return Weight(sum(sizes.values()), sizes[""], sum(largest))


@functools.cache
def nbytes(format_name: str | None, shape: tuple[int, int]) -> int:
    """Of a weight [N, K] with its scales."""
    if format_name is None:
        return math.prod(shape) * PLAIN
    tensors = FORMATS[format_name].encode(torch.empty(shape, device=META), scale="recalculate")
    return sum(tensor.nbytes for tensor in tensors.values())


def of_name(row: Model, size: Size | None) -> Footprint:
    config = getattr(comfy.supported_models, row.comfyui)(dict(row.sizes))
    return of_model(_built(config, {}), row.name, size, row.experts)


def of_file(checkpoint: Checkpoint, weights: Weights, size: Size | None) -> Footprint:
    """Of a diffusion model's file. weights: an outline's. Raises AdviceError for one that ComfyUI does not know."""
    shapes = {key: tuple(tensor.shape) for key, tensor in weights.plain.items()}
    shapes |= {f"{layer}.weight": tuple(stored.shape) for layer, stored in weights.quantized.items()}
    tensors = {key: torch.empty(shape, dtype=DTYPE, device=META) for key, shape in shapes.items()}
    with silence():
        config = comfy.model_detection.model_config_from_unet(tensors, "", metadata=weights.metadata)
    if config is None:
        raise AdviceError(f"{checkpoint.path.name} is no diffusion model that ComfyUI recognises. Give another file.")
    return of_model(_built(config, tensors), Path(checkpoint.path).name, size)


def of_model(model: torch.nn.Module, title: str, size: Size | None = None, experts: int = 1) -> Footprint:
    """Of core's BaseModel, with weights or without. size: by default what is usual. Raises AdviceError for a model that
    makes neither pictures nor videos."""
    latent = model.latent_format
    if latent.latent_dimensions not in WITH_FRAMES:
        raise AdviceError(f"{title} makes neither pictures nor videos, and advice is for those. Give another model.")
    size = size or (PICTURE if latent.latent_dimensions == 2 or _makes_pictures(model) else VIDEO)
    shape = _latents(latent, size)
    network = model.diffusion_model
    parameters = {name: tuple(tensor.shape) for name, tensor in network.named_parameters()}
    layers = {
        name.removesuffix(".weight"): shape
        for name, shape in parameters.items()
        if name.endswith(".weight") and len(shape) == 2
    }
    others = sum(math.prod(shape) for name, shape in parameters.items() if name.removesuffix(".weight") not in layers)
    return Footprint(
        title=title,
        size=size,
        layers=layers,
        names=tuple(parameters),
        plain=others * PLAIN,
        blocks=tuple(block.name for block in blocks_of(network)),
        tokens=max(1, math.prod(shape[2:]) // _patch(network)),
        activations=activation_bytes(model, shape),
        reserve=reserved_bytes(),
        experts=experts,
    )


def _makes_pictures(model: torch.nn.Module) -> bool:
    """Whether a model whose latents have frames makes one of them: Qwen-Image has Wan's."""
    return "image" in type(model).__name__.lower()


def _latents(latent, size: Size) -> list[int]:
    ratio = latent.spacial_downscale_ratio
    area = [max(1, size.height // ratio), max(1, size.width // ratio)]
    frames = [(size.frames - 1) // latent.temporal_downscale_ratio + 1] if latent.latent_dimensions == 3 else []
    return [1, latent.latent_channels, *frames, *area]


def _patch(network: torch.nn.Module) -> int:
    """Values of a latent channel that become one token."""
    patch = getattr(network, "patch_size", 1)
    return math.prod(patch) if isinstance(patch, tuple | list) else patch**2


def _built(config, tensors: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """core's BaseModel of a configuration, on the meta device."""
    config.set_inference_dtype(DTYPE, None)
    with silence(), META:
        return config.get_model(tensors, "", device=META)
