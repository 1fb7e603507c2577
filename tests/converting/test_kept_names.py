"""What a file has beside its weights comes out of a conversion: flags, and names and metadata in any script."""

import pytest
import torch
from family_files import lightx2vs, tensors_of
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.loading.dit import load_dit

FLAG = "__index_timestep_zero__"
OTHER_SCRIPTS = {"название": "модель", "名称": "万相 2.1", "note": "café 🙂"}


@pytest.fixture(scope="module")
def qwen():
    """Qwen-Image-Edit-2511's: one more tensor than Qwen-Image, which tells the time of a reference"""
    tensors = lightx2vs("qwen-image", tensors_of("qwen-image"))
    return {key: tensor.to(torch.bfloat16) for key, tensor in tensors.items()} | {FLAG: torch.tensor([])}


@pytest.mark.parametrize("dialect", ["lightx2v", "comfyui", "x2v"])
def test_the_flag_of_qwen_image_edit_is_loaded_and_kept(dialect, qwen, told, tmp_path, inference):
    told("qwen-image")
    source, target = tmp_path / "qwen.safetensors", tmp_path / "out.safetensors"
    save_file(qwen, source)
    convert(source, target, Options(format="int8-channel", dialect=dialect))
    assert FLAG in load_file(target)
    for path in (source, target):
        assert FLAG in open_checkpoint(path).load().plain
        load_dit(str(path), unquantized=True)


@pytest.mark.parametrize("dialect", ["lightx2v", "comfyui", "x2v"])
def test_other_scripts_are_kept(dialect, qwen, told, tmp_path):
    told("qwen-image")
    source, target = tmp_path / "模型.safetensors", tmp_path / "выход.safetensors"
    save_file(qwen, source, OTHER_SCRIPTS)
    convert(source, target, Options(format="int8-channel", dialect=dialect))
    with safe_open(target, framework="pt") as file:
        assert OTHER_SCRIPTS.items() <= file.metadata().items()
    assert OTHER_SCRIPTS.items() <= open_checkpoint(target).load().metadata.items()
