"""Model folders as LightX2V lays them out, from small files of its own converter."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.lightx2v_config import SearchPaths, read_config

FIXTURES = Path(__file__).parents[1] / "fixtures"
VISION = "models_clip_open-clip-xlm-roberta-large-vit-huge-14"
FILES = {
    "int8 blocks": "wan_t2v_int8_blocks",
    "fp8": "wan_t2v_fp8.safetensors",
    "dense": "wan_t2v_source.safetensors",
    "t5 dense": "t5.safetensors",
    "t5 int8": "models_t5_umt5-xxl-enc-int8.pth",
    "t5 fp8": "models_t5_umt5-xxl-enc-fp8.pth",
    "clip int8": f"{VISION}-int8.pth",
    "clip fp8": f"{VISION}-fp8.pth",
}


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """What a test calls a model -> file or folder."""
    folder = tmp_path_factory.mktemp("sources")
    blocks = sorted((FIXTURES / FILES["int8 blocks"]).glob("*.safetensors"))
    save_file({key: tensor for file in blocks for key, tensor in load_file(file).items()}, folder / "int8")
    pictures = {"img_emb.proj.0.bias": torch.zeros(4)}
    save_file(load_file(FIXTURES / FILES["fp8"]) | pictures, folder / "fp8 i2v")
    return {**{name: FIXTURES / file for name, file in FILES.items()}, **{file.name: file for file in folder.iterdir()}}


@pytest.fixture
def put(tmp_path, sources):
    """put({path below the models folder: name in `sources`}): copies each."""

    def copy(files: dict[str, str]) -> None:
        for target, source in files.items():
            path = tmp_path / target
            path.parent.mkdir(parents=True, exist_ok=True)
            if sources[source].is_dir():
                shutil.copytree(sources[source], path, dirs_exist_ok=True)
            else:
                shutil.copy(sources[source], path)

    return copy


@pytest.fixture
def config():
    return lambda **values: read_config(json.dumps(values), "run.json")


@pytest.fixture
def paths(tmp_path):
    """paths(name of a folder below diffusion_models or None)."""

    def make(folder=None):
        kinds = {kind: [tmp_path / kind] for kind in ("diffusion_models", "text_encoders", "clip_vision")}
        return SearchPaths(tmp_path / "diffusion_models" / folder if folder else None, kinds)

    return make
