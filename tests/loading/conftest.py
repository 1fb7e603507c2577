"""Small Wan files and what is done with them, shared by the tests of the loaders and the linear layer."""

import json

import pytest
import safetensors.torch
import torch

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.demo.wan import WanSize
from x2v_quant.formats import FORMATS

SIZE = WanSize()
LATENT = (1, 16, 2, 8, 8)


# format -> what the demo's writer calls it
KINDS = {
    "int8-channel": "int8",
    "fp8-channel": "fp8",
    "fp8-block128": "block128",
    "fp8-tensor": "fp8-tensor",
    "int4-g128": "int4",
    "int4-g128-marlin": "int4-marlin",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}


@pytest.fixture(scope="session")
def wan_files(tmp_path_factory):
    """Format -> (bf16 path, quantized path) of the same small Wan t2v, written when a test asks for it."""

    class Files(dict):
        def __missing__(self, name):
            folder = tmp_path_factory.mktemp(name)
            if FORMATS[name].smooth:
                self[name] = write_smooth(folder, name, *self[FORMATS[name].family])
            else:
                self[name] = tuple(map(str, write_pair(folder, SIZE, KINDS[name])))
            return self[name]

    return Files()


def write_smooth(folder, name, dense, quantized):
    """The layers that the file `quantized` has, out of the file `dense`, each with random factors."""
    tensors = safetensors.torch.load_file(dense)
    layers = [key.removesuffix("_scale") for key in safetensors.torch.load_file(quantized) if key.endswith("_scale")]
    for index, key in enumerate(layers):
        generator = torch.Generator().manual_seed(index)
        factor = torch.rand(tensors[key].shape[1], generator=generator) + 0.2
        held = FORMATS[name].quantize(tensors[key].float(), torch.bfloat16, pre_quant_scale=factor)
        tensors |= held.state_dict(key)
        tensors[f"{key.removesuffix('weight')}pre_quant_scale"] = factor
    path = folder / f"{name}.safetensors"
    safetensors.torch.save_file(tensors, path)
    return dense, str(path)


@pytest.fixture
def load_dense():
    """Core's own loader; it has to be told the text width, which ours reads off the weights."""
    import comfy.sd
    import comfy.utils

    def load(path):
        config = json.dumps({"transformer": {"text_dim": SIZE.text}})
        return comfy.sd.load_diffusion_model_state_dict(comfy.utils.load_torch_file(path), metadata={"config": config})

    return load


@pytest.fixture
def sample():
    """sample(model, steps=3, cfg=1.0) -> latents; the same noise and prompt every time."""
    import comfy.sample

    def run(model, steps=3, cfg=1.0):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(LATENT, generator=generator)
        positive, negative = ([[torch.randn((1, 64, SIZE.text), generator=generator), {}]] for _ in range(2))
        latents = torch.zeros(LATENT)
        return comfy.sample.sample(
            model, noise, steps, cfg, "euler", "simple", positive, negative, latents, disable_pbar=True, seed=0
        )

    return run


@pytest.fixture
def lora():
    """lora(rank=4, strength) -> LoRA file contents in the key style of Wan LoRAs, on every quantized layer kind."""

    def make(scale=1.0, rank=4):
        generator = torch.Generator().manual_seed(5)
        sd = {}
        for block in range(SIZE.blocks):
            for layer, n, k in (
                ("self_attn.q", SIZE.dim, SIZE.dim),
                ("self_attn.o", SIZE.dim, SIZE.dim),
                ("cross_attn.v", SIZE.dim, SIZE.dim),
                ("ffn.0", SIZE.ffn, SIZE.dim),
                ("ffn.2", SIZE.dim, SIZE.ffn),
            ):
                key = f"diffusion_model.blocks.{block}.{layer}"
                sd[f"{key}.lora_A.weight"] = torch.randn((rank, k), generator=generator) * k**-0.5
                sd[f"{key}.lora_B.weight"] = torch.randn((n, rank), generator=generator) * scale * rank**-0.5
        return sd

    return make
