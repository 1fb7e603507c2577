"""Files that other people's tools make of the demo's model load, and sample what the original does, within the error of
their format."""

import importlib.util
import json
import re
import subprocess
import sys

import comfy.sd
import pytest
import torch
from comfy_kitchen.tensor import get_layout_class
from older_comfyui import core_rotates_int8
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.fidelity.sampling import sample, shifted
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.demo import assets
from x2v_quant.loading.dit import load_dit

pytestmark = pytest.mark.slow
needs_convert_to_quant = pytest.mark.skipif(
    importlib.util.find_spec("convert_to_quant") is None, reason="needs convert-to-quant, of the extra dev"
)

# arguments of convert-to-quant -> (family of the format, largest relative error of the weights, and of latents)
MADE = {
    "": ("fp8-channel", 0.03, 0.15),
    "--scaling_mode row": ("fp8-channel", 0.03, 0.15),
    "--scaling_mode block": ("fp8-block128", 0.03, 0.15),
    "--int8 --scaling_mode row": ("int8-channel", 0.01, 0.1),
    "--int8 --scaling_mode tensor": ("int8-channel", 0.02, 0.1),
    "--int8 --scaling_mode row --convrot": ("int8-convrot", 0.01, 0.1),
    "--int8 --scaling_mode row --convrot --convrot-group-size 16": ("int8-convrot-16", 0.01, 0.1),
    "--mxfp8": ("mxfp8", 0.03, 0.15),
    "--nvfp4": ("nvfp4", 0.11, 0.4),
}
# comfy-kitchen's layout -> (what it is asked for, the rest of the marker, and as above)
LAYOUTS = {
    "TensorCoreFP8E4M3Layout": ({}, {"format": "float8_e4m3fn"}, "fp8-channel", 0.03, 0.15),
    "TensorCoreFP8E5M2Layout": ({}, {"format": "float8_e5m2"}, "fp8-channel", 0.06, 0.25),
    "TensorCoreMXFP8Layout": ({}, {"format": "mxfp8"}, "mxfp8", 0.03, 0.15),
    "TensorCoreNVFP4Layout": ({}, {"format": "nvfp4"}, "nvfp4", 0.11, 0.4),
    "TensorWiseINT8Layout": (
        {"per_channel": True, "convrot": True, "convrot_groupsize": 64},
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 64},
        *("int8-convrot-64", 0.01, 0.1),
    ),
    "TensorCoreConvRotW4A4Layout": (
        {"convrot_groupsize": 64},
        {"format": "convrot_w4a4", "convrot_groupsize": 64},
        *("convrot-w4a4-64", 0.14, 0.6),
    ),
    "AsymW4A8Int8Layout": (
        {"convrot_groupsize": 64},
        {"format": "asym_w4a8_int8", "group_size": 16, "convrot_groupsize": 64},
        *("w4a8-rot64", 0.12, 0.4),
    ),
}
# the linears of the demo's model that LightX2V quantizes
LINEAR = re.compile(r"blocks\.\d+\.(self_attn|cross_attn|ffn)\.\w\.weight")
COMMAND = [sys.executable, "-c", "from convert_to_quant.convert_to_quant import main; main()"]
LAYER = "blocks.1.ffn.2"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    assets.write(models)
    return models / assets.FOLDERS["t2v"] / assets.names(assets.ORIGINAL).t2v


@needs_convert_to_quant
@pytest.mark.parametrize("arguments", MADE, ids=lambda text: text.replace("--", "") or "default")
def test_convert_to_quant(original, tmp_path, arguments):
    target = tmp_path / "made.safetensors"
    options = ["--comfy_quant", "--simple", "--wan", "--device", "cpu", *arguments.split()]
    subprocess.run([*COMMAND, "-i", original, "-o", target, *options], check=True, capture_output=True, timeout=300)
    check(original, target, *MADE[arguments])


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[core_rotates_int8] if "INT8Layout" in name else []) for name in LAYOUTS],
)
def test_comfy_kitchen(original, tmp_path, name):
    """What ComfyUI's ModelSave writes: the layout's tensors and the marker of each layer."""
    try:
        layout = get_layout_class(name)
    except KeyError:
        pytest.skip(f"this comfy-kitchen has no {name}")
    options, marker, *expected = LAYOUTS[name]
    tensors = load_file(original)
    for key in list(filter(LINEAR.fullmatch, tensors)):
        made = layout.state_dict_tensors(*layout.quantize(tensors.pop(key).float(), **options))
        tensors |= {key + end: tensor.contiguous() for end, tensor in made.items()}
        data = json.dumps(marker).encode()
        tensors[f"{key.removesuffix('weight')}comfy_quant"] = torch.tensor(list(data), dtype=torch.uint8)
    target = tmp_path / "made.safetensors"
    save_file(tensors, target)
    check(original, target, *expected)


def check(original, target, family, largest, off):
    """The file has 40 layers of the format, within the error of the weights, and samples within that of latents."""
    checkpoint = open_checkpoint(target)
    assert checkpoint.problems == []
    found = checkpoint.load().quantized
    assert found[LAYER].format.startswith(family)
    assert len(found) == 40
    with safe_open(original, "pt") as file:
        for name, weight in found.items():
            true = file.get_tensor(f"{name}.weight").float()
            error = weight.wrap(torch.float32).dequantize() - true
            assert float(error.norm() / true.norm()) <= largest, name
    expected, got = (latents(model) for model in (comfy.sd.load_diffusion_model(str(original)), load_dit(str(target))))
    assert 0 < float((got - expected).norm() / expected.norm()) <= off


@torch.inference_mode()
def latents(model):
    """Of one video, for a prompt of noise."""
    text = torch.randn((2, 1, 16, 128), generator=torch.Generator().manual_seed(0))
    return sample(shifted(model), text[0], text[1], [0], lambda *_: None)
