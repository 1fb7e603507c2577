"""Model files of real widths with random weights and few blocks, written where a benchmark asks."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch

from ..demo.trained import Tensors
from . import encoders, shapes
from .quantize import quantized
from .wan import WanSize, Weights, dit

# umt5-xxl has 256,384 pieces; the demo's few leave the embedding out of the measurements
TOKENIZER_SEED = 0
TEXT_WIDTH = shapes.UMT5_XXL.width
# kind -> (the demo's writer of it, ComfyUI's own name for such a layer)
NATIVE = {"int8": ("int8", "int8_tensorwise"), "fp8": ("fp8-tensor", "float8_e4m3fn")}


@dataclass(frozen=True)
class Files:
    """The same random weights as a bfloat16 file, as LightX2V's quantized files and as ComfyUI's own, by kind ("int8",
    "fp8")."""

    dense: Path
    ours: dict[str, Path]
    native: dict[str, Path]


def wan_1_3b(blocks: int) -> WanSize:
    """Wan 2.1 1.3B has 30 blocks of this shape."""
    return wan_size(shapes.WAN_1_3B, blocks)


def wan_size(model: shapes.Model, blocks: int) -> WanSize:
    return WanSize(dim=model.width, ffn=model.mlp, blocks=blocks, text=TEXT_WIDTH)


def write_pair(folder: Path, size: WanSize, kind: str) -> tuple[Path, Path]:
    """The same random weights of a Wan text to video as a bfloat16 file and as LightX2V's quantized file (kind: a key
    of quantize.KINDS): (bf16 path, quantized path)."""
    files = write(folder, dit(0, size, image_to_video=False), "dit", [kind])
    return files.dense, files.ours[kind]


def write(
    folder: Path,
    weights: Tensors,
    model: str,
    kinds: Iterable[str],
    native: Iterable[str] = (),
    suffix: str = ".safetensors",
) -> Files:
    """`weights` (float32, emptied on the way: they are large) as Files in `folder`. model: "dit", "t5" or "clip";
    native: the kinds that are written for ComfyUI too; suffix: ".safetensors" or ".pth"."""
    dense = {name: weights.pop(name).to(torch.bfloat16).contiguous() for name in list(weights)}
    save = WRITERS[suffix]
    files = Files(
        folder / f"dense{suffix}",
        {kind: folder / f"{kind}{suffix}" for kind in kinds},
        {kind: folder / f"{kind}-native{suffix}" for kind in native},
    )
    save(dense, files.dense)
    for kind, path in files.ours.items():
        save(quantized(dense, kind, model), path)
    for kind, path in files.native.items():
        writer, name = NATIVE[kind]
        save(marked(quantized(dense, writer, model), name), path)
    return files


def marked(tensors: Tensors, name: str) -> Tensors:
    """Quantized tensors with the marker that ComfyUI reads on each layer, and scales in float32 as it wants them."""
    marker = torch.frombuffer(bytearray(json.dumps({"format": name}).encode()), dtype=torch.uint8)
    result = dict(tensors)
    for key in [key for key in tensors if key.endswith(".weight_scale")]:
        result[key] = tensors[key].float()
        result[f"{key.removesuffix('weight_scale')}comfy_quant"] = marker.clone()
    return result


def wan(model: shapes.Model, blocks: int) -> Tensors:
    return dit(0, wan_size(model, blocks), image_to_video=False)


def umt5(folder: Path, model: shapes.Model, blocks: int) -> Tensors:
    """The encoder's weights; its tokenizer is written into `folder`."""
    spiece = encoders.spiece_model(TOKENIZER_SEED)
    (folder / "spiece.model").write_bytes(spiece)
    weights = encoders.umt5(0, encoders.pieces(spiece), model.width, model.mlp, blocks)
    positions = Weights(0)
    for name in [name for name in weights if name.endswith("pos_embedding.embedding.weight")]:
        weights[name] = positions.normal(encoders.BUCKETS, model.heads, std=0.5)  # the demo's has fewer heads
    return weights


def clip_vision(model: shapes.Model, blocks: int) -> Tensors:
    return encoders.clip_vision(0, model.width, model.mlp, blocks)


WRITERS: dict[str, Callable[[Tensors, Path], None]] = {
    ".safetensors": safetensors.torch.save_file,
    ".pth": torch.save,
}
