"""The real server, once for all tests of this folder, on CPU with the demo's models."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from x2v_quant.demo.run import node_of, settings, workflow
from x2v_quant.headless.server import serve
from x2v_quant.headless.workflow import override, to_prompt

REFERENCE = Path(__file__).parent / "reference_pack"


@pytest.fixture(scope="session")
def server(demo_models):
    with serve(demo_models.parent, cpu=True, more_packs=[REFERENCE]) as running:
        yield running


@pytest.fixture(scope="session")
def object_info(server):
    return server.client.object_info()


@pytest.fixture
def graph(object_info):
    """The int8 text-to-video workflow as an API prompt that ends in a saved latent: (prompt, node id by class)."""

    def make(**changes):
        prompt = override(to_prompt(workflow("t2v"), object_info), {**settings("int8", "t2v"), **changes}, object_info)
        for output in ("SaveVideo", "CreateVideo", "VAEDecode", "VAELoader"):
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
