"""A ComfyUI older than the pack can run in: what its user reads when it starts."""

import shutil
from pathlib import Path

import pytest

import x2v_quant
from x2v_quant.core.on_path import StartError
from x2v_quant.headless.server import serve

pytestmark = pytest.mark.slow

# what a server does not need to come up
NOT_COPIED = {"models", "input", "output", "temp", "user", "custom_nodes", "tests", "tests-unit", ".git"}


@pytest.fixture
def older(comfyui, tmp_path):
    """older(version) -> this ComfyUI in a folder of its own, calling itself that."""

    def make(version):
        folder = tmp_path / "ComfyUI"
        shutil.copytree(
            comfyui, folder, ignore=lambda place, names: NOT_COPIED if Path(place) == comfyui else {"__pycache__"}
        )
        (folder / "custom_nodes").mkdir()
        (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
        return folder

    return make


def test_a_comfyui_that_is_too_old_starts_without_the_pack_and_says_why(older, tmp_path):
    major, minor = x2v_quant.MINIMUM_COMFYUI
    version = f"{major}.{minor - 1}.9"
    with (
        pytest.raises(StartError) as caught,
        serve(tmp_path / "base", cpu=True, comfyui=older(version)),
    ):
        pass
    said = f"x2v-quant needs ComfyUI {major}.{minor} or newer, this is {version}. Update ComfyUI."
    (line,) = [line for line in str(caught.value).splitlines() if said in line]
    assert "comfy_entrypoint" in line
    assert "ComfyUI started without X2VLoadDiT" in str(caught.value)
