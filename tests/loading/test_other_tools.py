"""Files that other people's tools make of the demo's model load, and sample what the original does, within the error of
their format."""

import subprocess
import sys

import comfy.sd
import pytest
import torch
from safetensors import safe_open

from x2v_quant.benchmarks.fidelity.sampling import sample, shifted
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.demo import assets
from x2v_quant.loading.dit import load_dit

pytestmark = pytest.mark.slow
pytest.importorskip("convert_to_quant", reason="needs convert-to-quant, of the extra dev")

# arguments of convert-to-quant -> (family of the format, largest relative error of the weights, and of latents)
MADE = {
    "": ("fp8-channel", 0.03, 0.15),
    "--scaling_mode row": ("fp8-channel", 0.03, 0.15),
    "--scaling_mode block": ("fp8-block128", 0.03, 0.15),
    "--int8 --scaling_mode row": ("int8-channel", 0.01, 0.1),
    "--int8 --scaling_mode row --convrot": ("int8-convrot", 0.01, 0.1),
    "--mxfp8": ("mxfp8", 0.03, 0.15),
    "--nvfp4": ("nvfp4", 0.11, 0.4),
}
COMMAND = [sys.executable, "-c", "from convert_to_quant.convert_to_quant import main; main()"]
LAYER = "blocks.1.ffn.2"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    models = tmp_path_factory.mktemp("models")
    assets.write(models)
    return models / assets.FOLDERS["t2v"] / assets.names(assets.ORIGINAL).t2v


@pytest.mark.parametrize("arguments", MADE, ids=lambda text: text.replace("--", "") or "default")
def test_convert_to_quant(original, tmp_path, arguments):
    target = tmp_path / "made.safetensors"
    options = ["--comfy_quant", "--simple", "--wan", "--device", "cpu", *arguments.split()]
    subprocess.run([*COMMAND, "-i", original, "-o", target, *options], check=True, capture_output=True, timeout=300)
    family, largest, off = MADE[arguments]
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
