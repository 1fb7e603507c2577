"""Every contestant's file: written, loaded by the loader its users have, and found to hold what it says."""

import pytest
import torch

from x2v_quant.benchmarks.fidelity.contestants import BASELINE, contestants
from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.kernels.machine import default_device, describe

pytestmark = pytest.mark.usefixtures("inference")
# text 4096: what core takes a file for that says nothing
SIZE = WanSize(dim=128, ffn=256, blocks=1, text=4096)
HERE = describe(default_device())
ROWS = [row for row in contestants(HERE, torch.float32, gguf=False) if row.text == "bf16" and row != BASELINE]
# part of a format's name -> dB that 8 or 4 bits, or the original's 16, must at least leave of Gaussian weights; the
# last one that fits
WEIGHTS = {"bf16": 90, "int8": 38, "fp8": 30, "mxfp8": 28, "mxfp6": 23, "mxfp4": 16, "int4": 16, "nvfp4": 18}
WEIGHTS |= {"w4a": 16, "w4a8": 20}
LAYER = "blocks.0.ffn.0"
# GPTQ makes outputs more exact, and weights less
SPARED = 2


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("fidelity"), SIZE, "int8")[0]


@pytest.fixture(scope="module")
def calibration(original, tmp_path_factory):
    """Of normally distributed inputs."""
    from x2v_quant.benchmarks.fidelity import files
    from x2v_quant.calibration import Calibration
    from x2v_quant.calibration.sample import Sample, token_keys

    path, seen = tmp_path_factory.mktemp("calibration") / "calibration.safetensors", Calibration()
    tensors = files.Source.read(original, path).tensors
    for layer in files.selected(tensors):
        x = torch.randn((512, tensors[f"{layer}.weight"].shape[1]), generator=torch.Generator().manual_seed(1))
        seen.add(layer, x.abs().amax(dim=0), x.square().sum(dim=0), len(x))
        seen.inputs[layer] = Sample.empty(len(x), x.shape[1], x.dtype).add(x, token_keys(x, torch.bfloat16))
    seen.save(path)
    return path


@pytest.mark.parametrize("row", [BASELINE, *ROWS], ids=lambda row: row.name)
def test_a_file_holds_what_its_row_says(row, original, calibration, tmp_path):
    import comfy.model_management

    from x2v_quant.benchmarks.fidelity import files, layers, loaders

    device = comfy.model_management.get_torch_device()
    source = files.Source.read(original, calibration)
    tensors = source.tensors
    file = original if row.file == "bf16" else files.write(row, source, tmp_path)
    patcher = loaders.load(row, file, None)
    comfy.model_management.load_models_gpu([patcher])
    assert len(files.selected(tensors)) == 10
    for name in files.selected(tensors):
        module = patcher.model.diffusion_model.get_submodule(name)
        assert row.stored in ("", layers.stored(module))
    module = patcher.model.diffusion_model.get_submodule(LAYER)
    weight, bias = (tensors[f"{LAYER}.{name}"].to(device) for name in ("weight", "bias"))
    dtype = patcher.model.manual_cast_dtype or patcher.model.get_dtype()
    x = torch.randn((32, SIZE.dim), generator=torch.Generator().manual_seed(0)).to(device, dtype)
    found = layers.compare(module, weight, bias, x)
    words = row.dtype.replace("float8_e4m3fn", "fp8") if row.dtype.startswith("float8") else row.file
    least = next((least for word, least in reversed(WEIGHTS.items()) if word in words), None)
    assert least is not None, f"WEIGHTS in tests/benchmarks/test_fidelity_files.py wants a row for {words}"
    least -= SPARED if row.rounding else 0
    assert least < found["weight_snr"] < least + 12
    if row.file != "bf16":
        assert file.stat().st_size < original.stat().st_size
        assert found["output_snr"] <= found["weight_snr"] + 1
        assert found["output_snr"] > least - 4


def test_only_linear_layers_of_blocks_are_selected(original):
    from x2v_quant.benchmarks.fidelity import files

    tensors = files.Source.read(original, original).tensors
    attention = {f"blocks.0.{kind}_attn.{name}" for kind in ("self", "cross") for name in "qkvo"}
    assert set(files.selected(tensors)) == {*attention, "blocks.0.ffn.0", "blocks.0.ffn.2"}
