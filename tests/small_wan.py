"""A small Wan: its files in every format, a few steps of sampling, and LoRAs on its layers."""

import zlib
from collections.abc import Callable, Mapping

import safetensors.torch
import torch
from rotated_files import marker

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.formats import FORMATS

TRAINED = WanSize(dim=128, ffn=512)  # the demo's
LATENT = (1, 16, 2, 8, 8)
IMAGE = (1, 16, 1, 8, 8)
# format -> what the demo's writer calls it
KINDS = {
    "int8-channel": "int8",
    "fp8-channel": "fp8",
    "fp8-block128": "block128",
    "fp8-tensor": "fp8-tensor",
    "int4-g128": "int4",
    "int4-g128-marlin": "int4-marlin",
    "mxfp8": "mxfp8",
    "mxfp4": "mxfp4",
    "mxfp6": "mxfp6",
    "nvfp4": "nvfp4",
}


class WanFiles(dict):
    """Format -> (bf16 path, quantized path) of the same small t2v, written when a test asks for it.

    factor_of(key of a weight) -> the name that a smoothed layer's factor is drawn by: layers of one name have the same.
    """

    def __init__(self, tmp_path_factory, size: WanSize, factor_of: Callable[[str], str] = str):
        super().__init__()
        self.folders, self.size, self.factor_of = tmp_path_factory, size, factor_of

    def __missing__(self, name: str) -> tuple[str, str]:
        folder = self.folders.mktemp(name)
        if FORMATS[name].smooth or FORMATS[name].settings:
            dense, quantized = self["int8-channel" if FORMATS[name].settings else FORMATS[name].family]
            self[name] = dense, self._quantized(folder, name, dense, quantized)
        else:
            self[name] = tuple(map(str, write_pair(folder, self.size, KINDS[name])))
        return self[name]

    def _quantized(self, folder, name: str, dense: str, quantized: str) -> str:
        """The layers that the file `quantized` has, out of the file `dense`: smoothed ones with random factors each,
        rotated ones with a marker."""
        tensors = safetensors.torch.load_file(dense)
        layers = [
            key.removesuffix("_scale") for key in safetensors.torch.load_file(quantized) if key.endswith("_scale")
        ]
        for key in layers:
            layer = key.removesuffix("weight")
            if FORMATS[name].smooth:
                factor = self._factor(key, tensors[key].shape[1])
                beside, tensors[f"{layer}pre_quant_scale"] = {"pre_quant_scale": factor}, factor
            else:
                beside = {}
            if FORMATS[name].settings:
                tensors[f"{layer}comfy_quant"] = marker(name)
            tensors |= FORMATS[name].quantize(tensors[key].float(), torch.bfloat16, **beside).state_dict(key)
        path = folder / f"{name}.safetensors"
        safetensors.torch.save_file(tensors, path)
        return str(path)

    def _factor(self, key: str, width: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(self.factor_of(key).encode()))
        return torch.rand(width, generator=generator) + 0.2


def sample(
    model,
    steps: int = 2,
    cfg: float = 3.0,
    *,
    latent: tuple[int, ...] = LATENT,
    batch: int = 1,
    tokens: int = 16,
    sampler: str = "euler",
    seed: int = 0,
    noise: torch.Tensor | None = None,
    callback=None,
) -> torch.Tensor:
    """Latents of a MODEL, through core's sampling; the same noise and prompts every time, drawn by `seed`."""
    import comfy.sample

    width = model.model.diffusion_model.text_embedding[0].in_features
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn((batch, *latent[1:]), generator=generator)
    positive, negative = ([[torch.randn((1, tokens, width), generator=generator), {}]] for _ in range(2))
    noise = drawn if noise is None else noise
    return comfy.sample.sample(
        model, noise, steps, cfg, sampler, "simple", positive, negative, torch.zeros_like(noise),
        disable_pbar=True, seed=seed, callback=callback,
    )  # fmt: skip


def trained_lora(seed: int) -> dict[str, torch.Tensor]:
    """What a LoRA file on two layers of each block of the demo's trained model holds."""
    shapes = {"self_attn.v": (TRAINED.dim, TRAINED.dim), "ffn.2": (TRAINED.dim, TRAINED.ffn)}
    on = {f"blocks.{block}.{layer}": shape for block in range(TRAINED.blocks) for layer, shape in shapes.items()}
    return lora(on, seed, strength=1.0)


def lora(layers: Mapping[str, tuple[int, int]], seed: int = 5, strength: float = 0.5) -> dict[str, torch.Tensor]:
    """What a LoRA file of rank 4 holds, in the key style of Wan's. layers: name -> (rows N, columns K); strength: the
    size of the numbers in the upper halves."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for layer, (n, k) in layers.items():
        key = f"diffusion_model.{layer}"
        found[f"{key}.lora_A.weight"] = torch.randn((4, k), generator=generator) * k**-0.5
        found[f"{key}.lora_B.weight"] = torch.randn((n, 4), generator=generator) * strength
    return found


def saved_by_core(model, path) -> str:
    """Writes what ComfyUI's ModelSave does."""
    import comfy.sd

    comfy.sd.save_checkpoint(str(path), model)
    return str(path)


def of_first_block(model, name: str) -> torch.nn.Module:
    """A module of a MODEL's first block."""
    return model.model.diffusion_model.blocks[0].get_submodule(name)


def pytorch_attention(_, *args, **kwargs):
    """Core's default on a CPU asks for the free memory, which no graph can hold."""
    from comfy.ldm.modules.attention import attention_pytorch

    return attention_pytorch(*args, **kwargs)
