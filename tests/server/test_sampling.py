"""Both workflows run through the API in int8 and fp8, and their latents stay near those of the unquantized model."""

import av
import pytest
import requests
from safetensors.torch import load_file

from x2v_quant.demo import assets
from x2v_quant.demo.run import node_of, saved_video, settings, start_image, workflow
from x2v_quant.headless.client import ServerError
from x2v_quant.headless.server import REQUIRED_NODES
from x2v_quant.headless.workflow import override, to_prompt

TASKS = ("t2v", "i2v")
ALLOWED = {"int8": 0.02, "fp8": 0.06}
# Unquantized latents move by at least this much when the prompt changes.
PROMPT_MATTERS = 0.1
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
def image(server):
    return server.client.upload_image(start_image(server.base))


@pytest.fixture(scope="module")
def prompt_for(object_info, image):
    def make(kind, task, **changes):
        changes = {**settings(kind, task), **changes}
        if task == "i2v":
            changes["Start Image.image"] = image
        return override(to_prompt(workflow(task), object_info), changes, object_info)

    return make


@pytest.fixture(scope="module")
def latents(server, prompt_for):
    """kind, task -> the KSampler's output; the same seed, so the same noise, every time."""

    def run(kind, task, **changes):
        prompt = prompt_for(kind, task, **changes)
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


def relative_error(value, reference):
    return ((value - reference).norm() / reference.norm()).item()


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_latents_stay_near_the_unquantized_models(latents, task):
    """Also on the reference kernels, which quantize activations as a GPU would where this machine's kernels do not."""
    reference = latents(assets.ORIGINAL, task)
    for kind in assets.FORMATS:
        for scheme in ("auto", f"{kind}-reference"):
            schemes = {f"X2VScheme.{model}": scheme for model in ("dit", "t5", "clip")}
            error = relative_error(latents(kind, task, **schemes), reference)
            assert 0 < error < ALLOWED[kind], f"{kind} on {scheme}: {error:.4f}"
    other = latents(assets.ORIGINAL, task, **{"Positive Prompt.text": "two dark boats at night"})
    assert relative_error(other, reference) > PROMPT_MATTERS


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", assets.FORMATS)
def test_workflow_gives_a_video_and_a_plan(server, prompt_for, kind, task):
    prompt = prompt_for(kind, task)
    events = []
    result = server.client.run(prompt, events.append)
    video = saved_video(server, result, node_of(prompt, "SaveVideo"))
    with av.open(str(video)) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    (report,) = result.outputs[node_of(prompt, "X2VKernelReport")]["text"]
    models = {"DiT", "T5"} | ({"CLIP"} if task == "i2v" else set())
    assert models <= {line.rstrip(":") for line in report.splitlines()}
    assert f"{kind}-channel" in report
    steps = [event.data["value"] for event in events if event.type == "progress"]
    assert prompt[node_of(prompt, "KSampler")]["inputs"]["steps"] in steps


@pytest.mark.parametrize("name", ["../../secret.safetensors", "/etc/passwd", "..\\x.safetensors", "gone.safetensors"])
@pytest.mark.parametrize("place", PLACES)
def test_a_name_that_is_not_in_the_list_is_refused(server, prompt_for, place, name):
    with pytest.raises(ServerError, match=place.split(".", maxsplit=1)[0]):
        server.client.submit(prompt_for("int8", "i2v", **{place: name}))


def test_templates_are_served(server):
    assert set(server.client.get("/workflow_templates")["x2v-quant"]) == {"wan_t2v_quantized", "wan_i2v_quantized"}
    assert server.client.get("/api/workflow_templates/x2v-quant/wan_t2v_quantized.json") == workflow("t2v")


@pytest.mark.parametrize("node", REQUIRED_NODES)
def test_docs_are_served(server, node):
    page = requests.get(f"{server.url}/extensions/x2v-quant/docs/{node}.md", timeout=30)
    assert page.ok
    assert len(page.text) > 100
