"""Small models to convert, and files that LightX2V's converter made of the same source."""

from pathlib import Path

import pytest
import torch
from rounded_files import calibration_of
from safetensors.torch import save_file

from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Files that LightX2V's converter wrote."""
    return FIXTURES


@pytest.fixture(scope="session")
def tensors():
    """A Wan 2.1 t2v in bfloat16 with two blocks, whose shapes every format can hold."""
    size = WanSize(dim=256, ffn=384, blocks=2, text=64)
    made = dit(0, size, image_to_video=False)
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in made.items()}


@pytest.fixture(scope="module")
def calibration(tensors):
    """By which every layer of `tensors` can be rounded."""
    return calibration_of(tensors)


@pytest.fixture
def source(tensors, tmp_path) -> Path:
    path = tmp_path / "source" / "wan.safetensors"
    path.parent.mkdir()
    save_file(tensors, path)
    return path


@pytest.fixture
def converted(tmp_path):
    """converted(source, name="out.safetensors", **options) -> the path that was written"""

    def run(source, name="out.safetensors", **options):
        convert(Path(source), tmp_path / name, Options(**options))
        return tmp_path / name

    return run
