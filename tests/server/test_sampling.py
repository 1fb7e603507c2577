"""The demo's workflows as they are, through the real server; and how near quantized models stay to the unquantized ones
in nothing but ComfyUI's own layers."""

import pytest
import requests
from distance import distance
from safetensors.torch import load_file

from x2v_quant.demo import assets
from x2v_quant.demo import graph as demo_graph
from x2v_quant.demo.graph import TASKS, TEMPLATES, node_of, workflow
from x2v_quant.demo.prompts import said, wrong
from x2v_quant.demo.reading import read
from x2v_quant.demo.run import saved_video
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.demo.video import frames
from x2v_quant.headless.client import ServerError
from x2v_quant.headless.server import REQUIRED_NODES
from x2v_quant.headless.workflow import to_prompt

pytestmark = pytest.mark.slow

# loaders that know nothing of quantization: ComfyUI's own, and those of tests/server/reference_pack
CORES_LOADERS = {
    "X2VLoadDiT": ("UNETLoader", "unet_name", {"weight_dtype": "default"}),
    "X2VLoadT5": ("ReferenceT5", "text_encoder_name", {}),
    "X2VLoadCLIPVision": ("ReferenceCLIPVision", "clip_name", {}),
}
PLACES = (
    "X2VLoadDiT.model_name",
    "X2VLoadT5.text_encoder_name",
    "X2VLoadT5.tokenizer",
    "X2VLoadCLIPVision.clip_name",
)


@pytest.fixture(scope="module")
def latents(server, object_info):
    """kind, task -> the KSampler's output; the same seed, so the same noise, every time."""

    def run(kind, task, **changes):
        files = demo_graph.settings(kind, task)
        prompt = demo_graph.prompt("int8", task, object_info, {**files, **changes})
        for output in ("SaveVideo", "X2VKernelReport"):
            del prompt[node_of(prompt, output)]
        if kind == assets.ORIGINAL:
            use_cores_loaders(prompt)
        samples = [node_of(prompt, "KSampler"), 0]
        prompt["latent"] = {"class_type": "SaveLatent", "inputs": {"samples": samples, "filename_prefix": "latent"}}
        (file,) = server.client.run(prompt).files()
        return load_file(server.base / "output" / file["subfolder"] / file["filename"])["latent_tensor"].float()

    return run


def use_cores_loaders(prompt):
    """Replaces our loaders by loaders that know nothing of quantization."""
    for node in [node for node, entry in prompt.items() if entry["class_type"] in CORES_LOADERS]:
        loader, renamed, more = CORES_LOADERS[prompt[node]["class_type"]]
        (name,) = (value for key, value in prompt[node]["inputs"].items() if key.endswith("_name"))
        prompt[node] = {"class_type": loader, "inputs": {renamed: name, **more}}


@pytest.mark.parametrize("task", TASKS)
def test_latents_stay_near_the_unquantized_models(latents, task, allowed):
    """Also on the reference kernels, which quantize activations as a GPU would where this machine's kernels do not."""
    reference = latents(assets.ORIGINAL, task)
    far = []
    for kind in assets.FORMATS:
        for scheme in ("auto", f"{kind}-reference"):
            schemes = {f"X2VScheme.{model}": scheme for model in ("dit", "t5", "clip")}
            error = distance(latents(kind, task, **schemes), reference)
            print(f"{task}, {kind} on {scheme}: {error:.4f}")
            if not 0 < error < allowed[kind]:
                far.append(f"{kind} on {scheme}: {error:.4f}")
    assert not far


def check_run(server, prompt, models, words):
    """Runs it: a video with every frame, a plan that names the models and holds the words, every step heard of."""
    events = []
    result = server.client.run(prompt, events.append)
    video = frames(saved_video(server, result, node_of(prompt, "SaveVideo")))
    (report,) = result.outputs[node_of(prompt, "X2VKernelReport")]["text"]
    assert models <= {line.partition(": ")[0] for line in report.splitlines()}
    assert words in report
    steps = [event.data["value"] for event in events if event.type == "progress"]
    assert prompt[node_of(prompt, "KSampler")]["inputs"]["steps"] in steps
    return video


MODELS = {"t2v": {"DiT", "T5"}, "i2v": {"DiT", "T5", "CLIP"}}


@pytest.mark.parametrize("task", TASKS)
def test_the_demos_workflow_runs_as_it_is(server, object_info, task):
    saved = workflow(TEMPLATES[task])
    prompt = to_prompt(saved, object_info)
    video = check_run(server, prompt, MODELS[task], "int8-channel")
    times = prompt[node_of(prompt, "ImageScaleBy")]["inputs"]["scale_by"]
    assert video.shape == (FRAMES, times * SIDE, times * SIDE, 3)
    asked = said(next(node["widgets_values"][0] for node in saved["nodes"] if node.get("title") == "Positive Prompt"))
    assert wrong(asked, read(video)) == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", [assets.FP8, assets.ORIGINAL])
def test_the_demos_workflow_takes_the_other_files(server, object_info, kind, task):
    prompt = demo_graph.prompt(kind, task, object_info, {})
    words = "DiT: not loaded by this pack" if kind == assets.ORIGINAL else "fp8-channel ->"
    check_run(server, prompt, MODELS[task], words)


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "..\\x.safetensors", "gone.safetensors"])
@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_is_not_in_the_list_is_refused(server, object_info, place, name):
    with pytest.raises(ServerError, match=place.split(".", maxsplit=1)[0]):
        server.client.submit(demo_graph.prompt("int8", "i2v", object_info, {place: name}))


def test_templates_are_served_with_their_thumbnails(server):
    names = {path.stem for path in demo_graph.WORKFLOWS.glob("*.json")}
    assert names >= set(TEMPLATES.values())
    assert server.client.get("/workflow_templates")["x2v-quant"] == sorted(names)
    for name in names:
        place = f"/api/workflow_templates/x2v-quant/{name}"
        assert server.client.get(f"{place}.json") == workflow(name)
        thumbnail = requests.get(f"{server.url}{place}.jpg", timeout=30)
        assert thumbnail.ok
        assert thumbnail.content == (demo_graph.WORKFLOWS / f"{name}.jpg").read_bytes()


@pytest.mark.parametrize("node", REQUIRED_NODES)
def test_docs_are_served(server, node):
    page = requests.get(f"{server.url}/extensions/x2v-quant/docs/{node}.md", timeout=30)
    assert page.ok
    assert len(page.text) > 100
