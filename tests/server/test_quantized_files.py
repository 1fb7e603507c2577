"""What is written in ComfyUI's dialect samples the same in ComfyUI's own loader and in ours, in the real server."""

import shutil

import pytest
import torch
from distance import distance
from older_comfyui import read_by_core

from x2v_quant.checkpoints.encodings import COMFYUI
from x2v_quant.converting.convert import convert
from x2v_quant.converting.dialects import choices
from x2v_quant.converting.options import Options
from x2v_quant.core.features import rotates_int8
from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader

pytestmark = pytest.mark.slow

ORIGINAL = assets.names(assets.ORIGINAL).t2v
ALLOWED = 1e-3
# Core quantizes the activations of int8 layers on every machine. Rounding them turns a difference in the last bit of a
# float into one of a whole step, so that only core's own operator gives core's latents: even core's latents lie 0.7 %
# from core's if the noise is changed by 2e-7.
SCHEMES = {"int8-channel": "int8-comfyui", **dict.fromkeys(("int8-convrot", "w4a8"), "int8-convrot-comfyui")}
# what is written -> what our loader reads it as: nobody has calibrated the input scale of an fp8-tensor layer
READ_AS = {name: name for name in ("int8-channel", "int8-convrot", "awq-w4a16", "w4a8", "mxfp8", "nvfp4")}
READ_AS["fp8-tensor"] = "fp8-channel"
# of the unquantized model's latents, after few steps
FARTHEST = 0.3
WRITERS = ("convert", "node")


@pytest.fixture
def written(server):
    """written(format, writer) -> the name of the demo's model in ComfyUI's dialect."""
    models = server.base / "models" / "diffusion_models"

    def by_convert(format_name, target):
        convert(models / ORIGINAL, target, Options(format=format_name, dialect=COMFYUI))

    def by_node(format_name, target):
        prefix = f"diffusion_models/core_reads_{format_name}"
        save = {"model": ["made", 0], "filename_prefix": prefix, "dialect": COMFYUI, "package": "file"}
        prompt = {
            "loader": unet_loader(ORIGINAL),
            "made": {"class_type": "X2VQuantizeModel", "inputs": {"model": ["loader", 0], "format": format_name}},
            "save": {"class_type": "X2VSaveModel", "inputs": save},
        }
        server.client.run(prompt)
        (path,) = (server.base / "output" / "diffusion_models").glob(f"core_reads_{format_name}_*.safetensors")
        shutil.move(path, target)

    def make(format_name, writer):
        target = models / f"core_reads_{format_name}_by_{writer}.safetensors"
        {"convert": by_convert, "node": by_node}[writer](format_name, target)
        return target.name

    return make


@pytest.fixture
def sampled(graph, run):
    """sampled(**overrides) or sampled(unet=FILE) for ComfyUI's own loader -> (latent, report)."""

    def sample(unet=None, **changes):
        prompt, ids = graph(**{"KSampler.steps": 4, "X2VScheme.compute_dtype": "fp32", **changes})
        if unet is not None:
            prompt[ids["X2VLoadDiT"]] = unet_loader(unet)
        return run(prompt)

    return sample


def test_every_format_that_core_reads_is_here():
    known = {name for name in READ_AS if name != "int8-convrot" or rotates_int8()}
    # codes of 4 bits make a step of 1/7 of a float's last bit: tests/converting/test_in_comfyui.py has that one
    assert known | {"convrot-w4a4"} == set(choices(COMFYUI))


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("format_name", read_by_core(READ_AS))
def test_core_samples_what_our_loader_samples(format_name, writer, written, sampled):
    name = written(format_name, writer)
    core, report = sampled(unet=name)
    assert "DiT: not loaded by this pack" in report
    scheme = SCHEMES.get(format_name, "auto")
    ours, report = sampled(**{"X2VLoadDiT.model_name": name, "X2VScheme.dit": scheme})
    assert f"layers {READ_AS[format_name]} -> " in report
    plain, _ = sampled(unet=ORIGINAL)
    far, lost = distance(ours, core), distance(core, plain)
    print(f"{format_name} by {writer}: ours from core's {far:.6f}, core's from the unquantized {lost:.4f}")
    assert far <= ALLOWED
    assert ALLOWED < lost < FARTHEST


def test_a_saved_text_encoder_is_the_one_that_was_loaded(graph, run, server):
    """Behind Quantize CLIP, which makes it fp8; the file then in the loader."""
    steps = {"KSampler.steps": 2}
    prompt, ids = graph(**steps)
    loader = ids["X2VLoadT5"]
    for entry in prompt.values():
        entry["inputs"].update({name: ["made", 0] for name, link in entry["inputs"].items() if link == [loader, 0]})
    saved = {"clip": ["made", 0], "filename_prefix": "text_encoders/saved", "dialect": "x2v"}
    prompt["made"] = {"class_type": "X2VQuantizeCLIP", "inputs": {"clip": [loader, 0], "format": "fp8-channel"}}
    prompt["save"] = {"class_type": "X2VSaveCLIP", "inputs": saved}
    expected, _ = run(prompt)
    (path,) = (server.base / "output" / "text_encoders").glob("saved_*.safetensors")
    shutil.move(path, server.base / "models" / "text_encoders" / path.name)
    found, report = run(graph(**steps, **{"X2VLoadT5.text_encoder_name": path.name})[0])
    assert f"{path.name}: " in report
    assert torch.equal(found, expected)
    assert not torch.equal(found, run(graph(**steps)[0])[0])
