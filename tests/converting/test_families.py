"""LightX2V's files of other families under ComfyUI's names: what is apart in them is one layer there."""

import pytest
import torch
from family_files import FAMILIES, tensors_of, write
from older_comfyui import in_core
from safetensors.torch import load_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, X2V
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options

pytestmark = pytest.mark.usefixtures("inference")
# ends of what a quantized layer has beside its weight
BESIDE = (".weight_scale", ".comfy_quant")


@pytest.fixture(params=in_core(FAMILIES))
def source(request, tmp_path, told):
    told(request.param)
    path = tmp_path / "source.safetensors"
    write(path, request.param, "int8", tensors_of(request.param))
    return request.param, path


@pytest.mark.parametrize("dialect", [COMFYUI, X2V])
def test_names_are_comfyuis_and_weights_the_files(dialect, source, tmp_path):
    name, path = source
    target = tmp_path / "target.safetensors"
    convert(path, target, Options(dialect=dialect))
    held = load_file(target)
    assert {key for key in held if not key.endswith(BESIDE)} == set(tensors_of(name))
    # what our loader makes of either file
    there, here = (open_checkpoint(file).load(load_file) for file in (path, target))
    assert there.plain.keys() == here.plain.keys() and there.quantized.keys() == here.quantized.keys()
    assert all(torch.equal(there.plain[key], here.plain[key]) for key in there.plain)
    for key, weight in there.quantized.items():
        assert weight.format == here.quantized[key].format
        for part, tensor in weight.tensors.items():
            assert torch.equal(tensor, here.quantized[key].tensors[part]), (key, part)
