"""Checkpoints of a few kilobytes, to be broken in one way each."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from sharded import INDEX, split

from x2v_quant.checkpoints import open_checkpoint

N, K = 8, 16
CODES = {"int8-channel": torch.int8, "fp8-channel": torch.float8_e4m3fn}


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Files that LightX2V's converter wrote."""
    return Path(__file__).parent.parent / "fixtures"


@pytest.fixture
def wan():
    """wan(format) -> tensors of a Wan 2.1 t2v with two blocks of two quantized layers [8, 16]."""

    def make(format_name="int8-channel"):
        generator = torch.Generator().manual_seed(0)
        tensors = {
            "head.modulation": torch.zeros(1, 2, N, dtype=torch.bfloat16),
            "head.head.weight": torch.zeros(64, N, dtype=torch.bfloat16),
            "patch_embedding.weight": torch.zeros(N, 16, 1, 2, 2, dtype=torch.bfloat16),
        }
        for layer in (f"blocks.{i}.self_attn.{name}" for i in range(2) for name in "qk"):
            codes = torch.randint(-127, 127, (N, K), generator=generator).to(CODES[format_name])
            tensors[f"{layer}.weight"] = codes
            tensors[f"{layer}.weight_scale"] = torch.rand((N, 1), generator=generator).to(torch.bfloat16)
            tensors[f"{layer}.bias"] = torch.zeros(N, dtype=torch.bfloat16)
        return tensors

    return make


@pytest.fixture
def write(tmp_path):
    """write(tensors, name="model.safetensors", metadata=None) -> path"""

    def save(tensors, name="model.safetensors", metadata=None):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file(tensors, path, metadata)
        else:
            torch.save(tensors, path)
        return path

    return save


@pytest.fixture
def opened(write):
    """opened(tensors, metadata=None) -> the checkpoint of a file with them"""
    return lambda tensors, metadata=None: open_checkpoint(write(tensors, metadata=metadata))


@pytest.fixture
def folder(wan, write, tmp_path):
    """folder(files, index=True) -> folder with a Wan split over them"""

    def make(files, index=True):
        parts = split(wan(), files)
        for name, part in parts.items():
            write(part, f"wan/{name}")
        if index:
            names = {key: name for name, part in parts.items() for key in part}
            beside = INDEX if files[0].endswith(".safetensors") else f"pytorch_model{Path(files[0]).suffix}.index.json"
            (tmp_path / "wan" / beside).write_text(json.dumps({"metadata": {}, "weight_map": names}))
        return tmp_path / "wan"

    return make
