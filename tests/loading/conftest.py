"""Small Wan files and what is done with them, shared by the tests of the loaders and the linear layer."""

import json

import pytest
import small_wan
import torch

from x2v_quant.benchmarks import encoders
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.benchmarks.wan import WanSize

SIZE = WanSize(blocks=2)
WIDTH = 256  # of encoders: what every format can hold


@pytest.fixture(scope="session")
def wan_files(tmp_path_factory):
    """Format -> (bf16 path, quantized path)."""
    return small_wan.WanFiles(tmp_path_factory, SIZE)


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
    """sample(model, steps=3, cfg=1.0) -> latents"""
    return lambda model, steps=3, cfg=1.0: small_wan.sample(model, steps, cfg, tokens=64)


@pytest.fixture
def lora():
    """lora() -> what a LoRA file holds, on every quantized layer kind."""
    layers = {
        "self_attn.q": (SIZE.dim, SIZE.dim),
        "self_attn.o": (SIZE.dim, SIZE.dim),
        "cross_attn.v": (SIZE.dim, SIZE.dim),
        "ffn.0": (SIZE.ffn, SIZE.dim),
        "ffn.2": (SIZE.dim, SIZE.ffn),
    }
    on = {f"blocks.{block}.{layer}": shape for block in range(SIZE.blocks) for layer, shape in layers.items()}
    return lambda: small_wan.lora(on)


@pytest.fixture(scope="session")
def encoder_files(tmp_path_factory):
    """A folder with a small umt5 and a small vision encoder in every kind, and the tokenizer beside."""
    folder = tmp_path_factory.mktemp("encoders")
    spiece = encoders.spiece_model(1)
    (folder / "spiece.model").write_bytes(spiece)
    t5 = encoders.umt5(1, encoders.pieces(spiece), WIDTH, WIDTH, blocks=2)
    clip = encoders.clip_vision(1, WIDTH, WIDTH)
    clip["textual.token_embedding.weight"] = torch.zeros(4, 4)
    for kind in small_wan.KINDS.values():
        torch.save(quantized(t5, kind, "t5"), folder / f"t5-{kind}.pth")
        torch.save(quantized(clip, kind, "clip"), folder / f"clip-{kind}.pth")
    return folder
