"""A diffusion model of every format through the real server: the plan names the kernel, the latents stay near."""

import json

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.demo import assets, wan
from x2v_quant.demo.quantize import KINDS, quantized

# what the demo's writer calls the format -> (the format, distance of the latents from the unquantized model's)
ALLOWED = {
    "int8": ("int8-channel", 0.02),
    "fp8": ("fp8-channel", 0.06),
    "fp8-tensor": ("fp8-tensor", 0.08),
    "block128": ("fp8-block128", 0.06),
    "mxfp8": ("mxfp8", 0.08),
    "nvfp4": ("nvfp4", 0.25),
    "int4": ("int4-g128", 0.20),
    "int4-compressed": ("int4-g128", 0.20),
    "int4-gptq": ("int4-g128", 0.20),
    "int4-marlin": ("int4-g128", 0.20),
}


@pytest.fixture(scope="module")
def original():
    """The very weights that the demo's bf16 file holds."""
    return assets.cast(wan.dit(assets.SEED, wan.WanSize(), image_to_video=False), torch.bfloat16)


@pytest.fixture
def unquantized(graph, run):
    prompt, ids = graph()
    prompt[ids["X2VLoadDiT"]] = {
        "class_type": "UNETLoader",
        "inputs": {"unet_name": assets.names(assets.ORIGINAL).t2v, "weight_dtype": "default"},
    }
    return run(prompt)[0]


def test_every_kind_is_here():
    assert set(ALLOWED) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_it_loads_and_samples_in_the_server(kind, original, unquantized, server, graph, run):
    name, (format_name, allowed) = f"every_format_{kind}.safetensors", ALLOWED[kind]
    config = {"config": json.dumps({"transformer": {"text_dim": wan.WanSize().text}})}
    save_file(quantized(original, kind, "dit"), server.base / "models" / "diffusion_models" / name, config)
    latent, report = run(graph(**{"X2VLoadDiT.model_name": name})[0])
    error = ((latent - unquantized).norm() / unquantized.norm()).item()
    assert error < allowed, f"{error:.3%}"
    plan = report.split("DiT:")[1].split("T5:")[0]
    assert f"40 layers {format_name} -> " in plan
    assert ("converted from int4-g128-marlin, which changes no value" in plan) == (kind == "int4-marlin")
    assert "- not " in plan
