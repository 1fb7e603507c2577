"""Memory Report in the real server: its numbers, its picture, when it is made, and what its cache does."""

import io
import re
import sys

import pytest
import safetensors
from PIL import Image

from x2v_quant.common.sizes import amount
from x2v_quant.demo import assets
from x2v_quant.runtime.memory.report import RESIDENCIES

pytestmark = pytest.mark.slow

FILES = assets.names("int8")
THIS_RUN = "since this run began"


@pytest.fixture
def reported(graph):
    """reported(**changes) -> the demo in two steps with a Memory Report after the sampler, and its ids by class."""

    def make(**changes):
        prompt, ids = graph(**{"KSampler.steps": 2, **changes})
        inputs = {"models.model0": [ids["X2VLoadDiT"], 0], "after": [ids["KSampler"], 0]}
        prompt["memory"] = {"class_type": "X2VMemoryReport", "inputs": inputs}
        return prompt, ids

    return make


@pytest.fixture
def outcome(server):
    """prompt -> what the report showed."""
    return lambda prompt: server.client.run(prompt).outputs["memory"]


def held(component):
    """Bytes of a component, all residencies together."""
    return sum(use[residency] for use in component["held"].values() for residency in RESIDENCIES)


def test_numbers_are_in_the_history(reported, outcome, server):
    prompt, ids = reported()
    prompt["memory"]["inputs"]["clip"] = [ids["X2VLoadT5"], 0]
    shown = outcome(prompt)
    (text,), (report,) = shown["text"], shown["memory"]
    dit, t5 = report["components"]
    assert dit["name"] == f"MODEL 1, {FILES.t2v}" and t5["name"] == f"CLIP, {FILES.t5}"
    path = server.base / "models" / assets.FOLDERS["t2v"] / FILES.t2v
    with safetensors.safe_open(path, framework="pt") as file:
        stored = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118 - a file is no mapping
    assert stored < dit["size"] == held(dit) < 1.05 * stored
    assert dit["bf16"] > 1.5 * dit["size"]
    assert held(t5) == t5["size"] > 0
    assert re.match(r"(Fits|Full|RAM): [\d.]+ \wB of [\d.]+ GB ", text)
    assert f"MODEL 1, {FILES.t2v}:" in text and f"CLIP, {FILES.t5}:" in text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")
def test_peaks_are_of_the_run(outcome):
    """A node that needs 400 MB for 200 MB of images, then a run without it."""
    size = {"width": 4096, "height": 2048, "batch_size": 2, "color": 7}
    peaks = []
    for images in ({"images": {"class_type": "EmptyImage", "inputs": size}}, {}):
        after = {"after": ["images", 0]} if images else {}
        shown = outcome({**images, "memory": {"class_type": "X2VMemoryReport", "inputs": after}})
        peak = shown["memory"][0]["peak"]
        assert peak["since"] == peak["process"]["since"] == THIS_RUN
        peaks.append(peak["process"]["peak"])
        assert f"{amount(peaks[-1])} resident, {THIS_RUN}" in shown["text"][0]
    with_images, without = peaks
    assert with_images - without > 150e6


def test_the_chart_is_previewed_and_can_be_saved(reported, server):
    prompt, _ = reported()
    prompt["save"] = {"class_type": "SaveImage", "inputs": {"images": ["memory", 1], "filename_prefix": "memory"}}
    result = server.client.run(prompt)
    pictures = {}
    for node in ("memory", "save"):
        (file,) = result.outputs[node]["images"]
        pictures[node] = Image.open(io.BytesIO(server.client.view(file))).convert("RGB")
    assert pictures["memory"].tobytes() == pictures["save"].tobytes()
    assert pictures["save"].width > pictures["save"].height > 50
    assert result.outputs["save"]["images"][0]["type"] == "output"


def test_it_is_made_anew_after_the_sampler_in_every_run(reported, server):
    """The same prompt again: all but the report and what is behind it comes from the cache."""
    prompt, ids = reported(**{"KSampler.seed": 4711})
    prompt["behind"] = {
        "class_type": "SaveLatent",
        "inputs": {"samples": ["memory", 2], "filename_prefix": "latents/behind"},
    }
    ran = []
    for _ in range(2):
        events = []
        server.client.run(prompt, events.append)
        ran.append([event.data["node"] for event in events if event.type == "executing" and event.data["node"]])
    first, second = ran
    assert first.index(ids["KSampler"]) < first.index("memory") < first.index("behind")
    assert second == ["memory", "behind"]


def test_two_models_and_none(reported, outcome):
    prompt, ids = reported()
    prompt["memory"]["inputs"]["models.model1"] = [ids["X2VLoadDiT"], 0]
    (report,) = outcome(prompt)["memory"]
    first, second = report["components"]
    assert held(first) == first["size"] == second["elsewhere"] and held(second) == 0
    prompt["memory"]["inputs"] = {}
    shown = outcome(prompt)
    assert shown["memory"][0]["components"] == []
    assert "\n\nPeaks:\n" in shown["text"][0]


def test_every_kind_of_model_of_core_too(reported, outcome):
    prompt, _ = reported()
    for name, class_type, field, file in (
        ("vae", "VAELoader", "vae_name", FILES.vae),
        ("clip_vision", "X2VLoadCLIPVision", "clip_name", FILES.clip),
    ):
        prompt[name] = {"class_type": class_type, "inputs": {field: file}}
        prompt["memory"]["inputs"][name] = [name, 0]
    (report,) = outcome(prompt)["memory"]
    assert [component["name"] for component in report["components"]] == [
        f"MODEL 1, {FILES.t2v}",
        f"CLIP_VISION, {FILES.clip}",
        "VAE, WanVAE",
    ]
