"""The real server, once for all tests of this folder, on CPU with the demo's models."""

import shutil
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from x2v_quant.demo import assets
from x2v_quant.demo import graph as demo_graph
from x2v_quant.demo.graph import node_of
from x2v_quant.demo.prompts import DEFAULT
from x2v_quant.demo.video import START_IMAGE, START_SEED, start_image
from x2v_quant.headless.server import serve

REFERENCE = Path(__file__).parent / "reference_pack"
# The furthest that a format's latents may lie from the unquantized model's, |difference| / |latents|. Measured with
# `pytest -rP tests/server`, which prints every distance, on the trained model and a CPU that dequantizes; at most twice
# that, more for int8 and fp8, of which other machines quantize the activations too. Without a row, as far as int4.
ALLOWED = defaultdict(
    lambda: 0.30,
    {"int8": 0.042, "fp8": 0.10, "fp8-tensor": 0.06, "block128": 0.06, "mxfp8": 0.07, "nvfp4": 0.20},
)


@pytest.fixture(scope="session")
def server(demo_models, tmp_path_factory):
    """Its models folder is a copy: tests put files of their own there."""
    base = tmp_path_factory.mktemp("server")
    shutil.copytree(demo_models, base / "models")
    inputs = base / "input"
    inputs.mkdir()
    start_image(DEFAULT, START_SEED).save(inputs / START_IMAGE)
    with serve(base, cpu=True, more_packs=[REFERENCE]) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(server):
    return server.client.object_info()


@pytest.fixture
def graph(object_info):
    """The demo's int8 text to video as an API prompt that ends in a saved latent: (prompt, node id by class)."""

    def make(**changes):
        prompt = demo_graph.prompt("int8", "t2v", object_info, changes)
        for output in ("SaveVideo", "CreateVideo", "ImageScaleBy", "VAEDecode", "VAELoader"):
            del prompt[node_of(prompt, output)]
        ids = {entry["class_type"]: node for node, entry in prompt.items()}
        prompt["latent"] = {
            "class_type": "SaveLatent",
            "inputs": {"samples": [ids["KSampler"], 0], "filename_prefix": "latents/core"},
        }
        return prompt, ids

    return make


@pytest.fixture
def run(server):
    """prompt -> (latent, report text)."""

    def execute(prompt):
        result = server.client.run(prompt)
        (file,) = [f for f in result.files() if f["filename"].endswith(".latent")]
        latent = load_file(server.base / "output" / file["subfolder"] / file["filename"])["latent_tensor"].float()
        reports = [text for output in result.outputs.values() for text in output.get("text", ())]
        return latent, "\n".join(reports)

    return execute


@pytest.fixture(scope="session")
def bare_text_encoder(server):
    """The name of a text encoder that carries no tokenizer, as LightX2V publishes it, with the tokenizer beside it."""
    folder = server.base / "models" / assets.FOLDERS["t5"]
    tensors = torch.load(folder / assets.names("int8").t5, weights_only=True)
    spiece = folder / "google" / "umt5-xxl" / "spiece.model"
    spiece.parent.mkdir(parents=True)
    spiece.write_bytes(bytes(tensors.pop(assets.TOKENIZER).tolist()))
    name = "models_t5_umt5-xxl-enc-int8.pth"
    torch.save(tensors, folder / name)
    return name


@pytest.fixture(scope="session")
def allowed():
    """What the demo's writer calls a format -> the furthest that its latents may lie from the unquantized model's."""
    return ALLOWED
