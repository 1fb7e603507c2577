"""Sound small models of every kind and format, to be damaged: each is one file, or the files of a folder."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import safetensors.torch
import torch

from x2v_quant.benchmarks import encoders, wan
from x2v_quant.benchmarks.models import NATIVE, marked
from x2v_quant.benchmarks.quantize import quantized

SIZE = wan.WanSize(dim=128, ffn=256, blocks=2, text=32)
WIDTH, MLP, BLOCKS = 64, 128, 2  # of the encoders
RANK = 4
FILE = "model.safetensors"
# layers of the LoRA -> (rows, columns)
LAYERS = {
    "blocks.0.self_attn.q": (SIZE.dim, SIZE.dim),
    "blocks.1.ffn.0": (SIZE.ffn, SIZE.dim),
    "blocks.1.ffn.2": (SIZE.dim, SIZE.ffn),
    "time_embedding.2": (SIZE.dim, SIZE.dim),
}


@dataclass(frozen=True)
class Source:
    """`loader`: "dit", "t5", "clip_vision" or "lora". `files`: name -> bytes; more than one is a folder."""

    loader: str
    files: dict[str, bytes]


def _dit() -> wan.Tensors:
    return _bf16(wan.dit(0, SIZE, image_to_video=False))


def _bf16(tensors: wan.Tensors) -> wan.Tensors:
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}


def _safetensors(tensors: wan.Tensors) -> bytes:
    return safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()}, {"format": "pt"})


def _pickled(tensors: wan.Tensors) -> bytes:
    stream = BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


def _wan(kind: str) -> Source:
    return Source("dit", {FILE: _safetensors(quantized(_dit(), kind, "dit"))})


def _core(kind: str) -> Source:
    """As ComfyUI writes it, with a marker on each layer."""
    writer, name = NATIVE[kind]
    return Source("dit", {FILE: _safetensors(marked(quantized(_dit(), writer, "dit"), name))})


def _shards() -> Source:
    import json

    tensors = quantized(_dit(), "int8", "dit")
    names = sorted(tensors)
    half = len(names) // 2
    files, table = {}, {}
    for number, part in enumerate((names[:half], names[half:]), 1):
        name = f"model-{number:05}-of-00002.safetensors"
        files[name] = _safetensors({key: tensors[key] for key in part})
        table |= dict.fromkeys(part, name)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": table}).encode()
    return Source("dit", files)


def _blocks() -> Source:
    tensors = quantized(_dit(), "fp8", "dit")
    files: dict[str, wan.Tensors] = {}
    for key, tensor in tensors.items():
        number = key.split(".")[1] if key.startswith("blocks.") else None
        name = "non_block.safetensors" if number is None else f"block_{number}.safetensors"
        files.setdefault(name, {})[key] = tensor
    return Source("dit", {name: _safetensors(held) for name, held in files.items()})


def _umt5(save: Callable[[wan.Tensors], bytes], name: str) -> Source:
    spiece = encoders.spiece_model(0)
    tensors = _bf16(encoders.umt5(0, encoders.pieces(spiece), WIDTH, MLP, BLOCKS))
    held = quantized(tensors, "int8", "t5")
    held["spiece_model"] = torch.frombuffer(bytearray(spiece), dtype=torch.uint8)
    return Source("t5", {name: save(held)})


def _clip(save: Callable[[wan.Tensors], bytes], name: str) -> Source:
    tensors = encoders.clip_vision(0, WIDTH, MLP, BLOCKS, projection=32)
    held = quantized({key: tensor.half() for key, tensor in tensors.items()}, "fp8", "clip")
    return Source("clip_vision", {name: save(held)})


def _lora() -> Source:
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for layer, (n, k) in LAYERS.items():
        key = f"diffusion_model.{layer}"
        tensors[f"{key}.lora_A.weight"] = torch.randn((RANK, k), generator=generator) * k**-0.5
        tensors[f"{key}.lora_B.weight"] = torch.randn((n, RANK), generator=generator) * 0.5
        tensors[f"{key}.alpha"] = torch.tensor(float(RANK))
    return Source("lora", {FILE: _safetensors(tensors)})


SOURCES: dict[str, Callable[[], Source]] = {
    "int8": lambda: _wan("int8"),
    "fp8": lambda: _wan("fp8"),
    "fp8-tensor": lambda: _wan("fp8-tensor"),
    "block128": lambda: _wan("block128"),
    "mxfp8": lambda: _wan("mxfp8"),
    "nvfp4": lambda: _wan("nvfp4"),
    "int4": lambda: _wan("int4"),
    "int4-compressed": lambda: _wan("int4-compressed"),
    "int4-gptq": lambda: _wan("int4-gptq"),
    "int4-marlin": lambda: _wan("int4-marlin"),
    "int8 of ComfyUI": lambda: _core("int8"),
    "fp8 of ComfyUI": lambda: _core("fp8"),
    "shards": _shards,
    "blocks": _blocks,
    "umt5": lambda: _umt5(_safetensors, FILE),
    "umt5 .pth": lambda: _umt5(_pickled, "model.pth"),
    "clip": lambda: _clip(_safetensors, FILE),
    "clip .pth": lambda: _clip(_pickled, "model.pth"),
    "lora": _lora,
}
