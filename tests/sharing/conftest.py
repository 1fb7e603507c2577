"""A small Wan in every format that quantizes activations, and what is done with it."""

import zlib
from collections import Counter

import pytest
import safetensors.torch
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from x2v_quant.benchmarks.models import write_pair
from x2v_quant.demo.wan import WanSize
from x2v_quant.formats import FORMATS

SIZE = WanSize(blocks=2)
LATENT = (1, 16, 2, 8, 8)
# format -> what the demo's writer calls it
KINDS = {
    "int8-channel": "int8",
    "fp8-channel": "fp8",
    "fp8-block128": "block128",
    "fp8-tensor": "fp8-tensor",
    "int4-g128": "int4",
    "mxfp8": "mxfp8",
    "nvfp4": "nvfp4",
}


@pytest.fixture(scope="session")
def wan_files(tmp_path_factory):
    """Format -> path of the same small Wan t2v, written when a test asks for it."""

    class Files(dict):
        def __missing__(self, name):
            folder = tmp_path_factory.mktemp(name)
            if FORMATS[name].smooth:
                self[name] = _smooth(folder, name, write_pair(folder, SIZE, KINDS[FORMATS[name].family]))
            else:
                self[name] = str(write_pair(folder, SIZE, KINDS[name])[1])
            return self[name]

    return Files()


def _smooth(folder, name, pair):
    """Layers that a norm feeds have one factor, as smoothing gives them; the others one each."""
    dense, quantized = (safetensors.torch.load_file(path) for path in pair)
    for key in [key.removesuffix("_scale") for key in quantized if key.endswith("_scale")]:
        place = key.replace(".k.", ".q.").replace(".v.", ".q.") if "self_attn" in key else key
        generator = torch.Generator().manual_seed(zlib.crc32(place.encode()))
        factor = torch.rand(dense[key].shape[1], generator=generator) + 0.2
        held = FORMATS[name].quantize(dense[key].float(), torch.bfloat16, pre_quant_scale=factor)
        dense |= held.state_dict(key)
        dense[f"{key.removesuffix('weight')}pre_quant_scale"] = factor
    path = folder / f"{name}.safetensors"
    safetensors.torch.save_file(dense, path)
    return str(path)


@pytest.fixture
def load(wan_files):
    """load(format, scheme="reference") -> MODEL: the reference quantizes activations on any machine."""
    from x2v_quant.loading import load_dit
    from x2v_quant.schemes import SchemeChoice

    return lambda format_name="int8-channel", scheme="reference": load_dit(
        wan_files[format_name], SchemeChoice(dit=scheme)
    )


@pytest.fixture
def sample():
    """sample(model, steps=2, cfg=2.0, batch=1) -> latents; the same noise and prompt every time."""
    import comfy.sample

    def run(model, steps=2, cfg=2.0, batch=1):
        generator = torch.Generator().manual_seed(0)
        shape = (batch, *LATENT[1:])
        noise = torch.randn(shape, generator=generator)
        positive, negative = ([[torch.randn((1, 16, SIZE.text), generator=generator), {}]] for _ in range(2))
        return comfy.sample.sample(
            model,
            noise,
            steps,
            cfg,
            "euler",
            "simple",
            positive,
            negative,
            torch.zeros(shape),
            disable_pbar=True,
            seed=0,
        )

    return run


@pytest.fixture
def lora():
    """A LoRA on one of three siblings, one layer of a pair, and one alone."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for layer, n, k in (("self_attn.k", 256, 256), ("cross_attn.v", 256, 256), ("ffn.0", 512, 256)):
        for block in range(SIZE.blocks):
            key = f"diffusion_model.blocks.{block}.{layer}"
            found[f"{key}.lora_A.weight"] = torch.randn((4, k), generator=generator) * k**-0.5
            found[f"{key}.lora_B.weight"] = torch.randn((n, 4), generator=generator) * 0.5
    return found


@pytest.fixture
def ops_called():
    """A context that counts this pack's ops by name."""

    class Called(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.count = Counter()

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.namespace == "x2v_quant":
                self.count[function._schema.name.removeprefix("x2v_quant::")] += 1
            return function(*args, **(kwargs or {}))

    return Called
