"""Templates run as they are, with small files under the names that they have; only sizes and steps are changed."""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from PIL import Image
from template_models import DENSE, FILES, SIZE

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.demo.graph import node_of, workflow
from x2v_quant.demo.run import saved_video
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.demo.video import START_IMAGE, frames
from x2v_quant.headless.workflow import override, to_prompt

pytestmark = pytest.mark.slow

STEPS = 4
LAYERS = 40  # of the demo's diffusion model, that are quantized
VIDEO = {"width": SIDE, "height": SIDE, "length": FRAMES}
PICTURE = {"width": SIDE, "height": SIDE}
SCHEME = {"t5": "auto", "clip": "auto", "compute_dtype": "auto", "strict": True, "transcode": False}

Replace = Callable[[dict], dict]  # a node of the prompt -> what stands for it


def demos_text_encoder(node):
    """Core builds T5 XXL in its full size only."""
    return {"class_type": "ReferenceT5", "inputs": {"text_encoder_name": DENSE.t5}}


def random_text(width: int) -> Replace:
    """Core builds Qwen's language models in their full size only, so that prompts become random numbers."""
    return lambda node: {"class_type": "ReferenceText", "inputs": {"text": node["inputs"]["text"], "width": width}}


@dataclass(frozen=True)
class Case:
    """`sizes`: titles or classes of nodes that have one; `samplers`: of those with steps. `pictures`: of nodes that
    load one. `says`: words of Kernel Report. `replaced`: classes of nodes -> what stands for them. `steps`: one where
    core knows the model in its full width only. `scheme`: of Quantize Model, where not every machine's own will do."""

    says: str
    sizes: tuple[str, ...] = ("Video Size",)
    samplers: tuple[str, ...] = ("KSampler",)
    pictures: tuple[str, ...] = ()
    replaced: dict[str, Replace] = field(default_factory=dict)
    steps: int = STEPS
    scheme: str = ""


# a new template is a row; the others are in test_sampling, test_lightx2v_config and test_compare
CASES = {
    "2 Wan 2.1 first and last frame": Case(
        "48 layers int8-channel ->", pictures=("First Frame", "Last Frame"), scheme="int8-reference"
    ),
    "2 Wan 2.2 text to video, 4 steps": Case("fp8-channel ->", samplers=()),
    "2 Wan 2.2 5B, text or picture to video": Case(f"{LAYERS} layers int8-channel ->"),
    "3 Qwen-Image, 4 steps": Case(
        "fp8-channel ->", ("Image Size",), replaced={"CLIPTextEncode": random_text(3584)}, steps=1
    ),
    "3 Z-Image Turbo": Case("int8-channel ->", ("Image Size",), replaced={"CLIPTextEncode": random_text(256)}, steps=1),
    "3 Flux.1 Krea": Case("fp8-channel ->", ("Image Size",), replaced={"DualCLIPLoader": demos_text_encoder}),
    "4 Quantize your own model": Case(f"{LAYERS} layers int8-channel ->", replaced={"CLIPLoader": demos_text_encoder}),
    "4 Quantize better, step 1": Case(
        "int8-channel-smooth ->", ("Calibration Size", "Video Size"), ("Calibration Sampler", "Video Sampler")
    ),
    "4 Quantize better, step 2": Case("int8-channel-smooth ->"),
    "2 Wan 2.1 with little VRAM": Case(f"{LAYERS} layers int8-channel ->", ("EmptyHunyuanLatentVideo",)),
    "5 LightX2V configuration": Case(f"{LAYERS} layers int8-channel ->", samplers=()),
}


def models_of(saved):
    """Every model that a template's loaders carry, with its name and its folder."""
    return [model for node in saved["nodes"] for model in node["properties"].get("models", ())]


@pytest.fixture
def placed(server, bare_text_encoder):
    """placed(saved) puts a file of FILES under each name that a template has. They are removed again: two are large."""
    written = []

    def place(saved):
        models = server.base / "models"
        for model in models_of(saved):
            path = models / model["directory"] / model["name"]
            if model["name"] in FILES:
                path.parent.mkdir(exist_ok=True)
                FILES[model["name"]](models, path)
                written.append(path)

    yield place
    for path in written:
        with suppress(PermissionError):  # Windows keeps a file that is mapped
            path.unlink(missing_ok=True)


@pytest.fixture
def ran(server, placed):
    """ran(name) -> (prompt, result, what Kernel Report says), checked."""

    def run(name):
        case, saved = CASES[name], workflow(name)
        placed(saved)
        info = server.client.object_info()
        prompt = to_prompt(saved, info)
        for entry in prompt.values():
            if entry["class_type"] in case.replaced:
                entry |= case.replaced[entry["class_type"]](entry)
        if case.scheme:
            prompt["scheme"] = {"class_type": "X2VScheme", "inputs": {**SCHEME, "dit": case.scheme}}
            prompt[node_of(prompt, "X2VQuantizeModel")]["inputs"]["scheme"] = ["scheme", 0]
        prompt = override(prompt, changes(case, prompt), info)
        result = server.client.run(prompt)
        check_output(server, prompt, result)
        (report,) = result.outputs[node_of(prompt, "X2VKernelReport")]["text"]
        assert case.says in report
        return prompt, result, report

    return run


def changes(case, prompt):
    shape = PICTURE if any(entry["class_type"] == "SaveImage" for entry in prompt.values()) else VIDEO
    made = {f"{title}.{key}": value for title in case.sizes for key, value in shape.items()}
    made |= {f"{title}.steps": case.steps for title in case.samplers}
    return made | {f"{title}.image": START_IMAGE for title in case.pictures}


def check_output(server, prompt, result):
    """A video or a picture of the size that was asked for, and something in it."""
    (saver,) = (node for node, entry in prompt.items() if entry["class_type"] in ("SaveVideo", "SaveImage"))
    if prompt[saver]["class_type"] == "SaveVideo":
        video = frames(saved_video(server, result, saver))
        assert video.shape == (FRAMES, SIDE, SIDE, 3)
        assert video.std() > 0
    else:
        (file,) = result.outputs[saver]["images"]
        with Image.open(io.BytesIO(server.client.view(file))) as picture:
            assert picture.size == (SIDE, SIDE)
            assert any(low < high for low, high in picture.getextrema())


@pytest.mark.parametrize(
    "name",
    ["2 Wan 2.2 5B, text or picture to video", "3 Flux.1 Krea", "3 Qwen-Image, 4 steps", "3 Z-Image Turbo"],
)
def test_it_runs(ran, name):
    ran(name)


def test_first_and_last_frame(ran):
    """What Quantized Sampler Patch is for: the first steps and the last in high precision, a report of each."""
    prompt, result, _ = ran("2 Wan 2.1 first and last frame")
    (sampler,) = result.outputs[node_of(prompt, "X2VStepReport")]["samplers"]
    assert [step["quantized"] > 0 for step in sampler["steps"]] == [False, False, True, False]


def test_wan22_text_to_video(ran):
    prompt, result, _ = ran("2 Wan 2.2 text to video, 4 steps")
    (report,) = result.outputs[node_of(prompt, "PreviewAny")]["text"]
    assert f"All {4 * SIZE.blocks} keys used: " in report


def test_quantize_and_save(ran, server):
    prompt, result, _ = ran("4 Quantize your own model")
    for saver, place, layers in (
        ("X2VSaveModel", "diffusion_models/wan2.1_t2v_1.3B_int8_", LAYERS),
        ("X2VSaveCLIP", "text_encoders/umt5_xxl_int8_", None),
    ):
        (said,) = result.outputs[node_of(prompt, saver)]["text"]
        (path,) = (server.base / "output").glob(f"{place}*.safetensors")
        checkpoint = open_checkpoint(path)
        assert path.relative_to(server.base).as_posix() in said
        assert not checkpoint.problems
        assert set(checkpoint.formats) == {"int8-channel"}
        assert layers in (None, checkpoint.formats["int8-channel"])


def test_calibrate_and_then_with_what_was_saved(ran, server):
    prompt, result, report = ran("4 Quantize better, step 1")
    assert "layers are smoothed" in report
    (file,) = result.outputs[node_of(prompt, "X2VFinishCalibration")]["calibrations"]
    calibration = Calibration.load(server.base / "output" / file["subfolder"] / file["filename"])
    assert len(calibration.maxima) >= LAYERS
    assert calibration.calls >= STEPS
    prompt, result, again = ran("4 Quantize better, step 2")
    assert prompt[node_of(prompt, "X2VLoadCalibration")]["inputs"]["calibration_name"].startswith(
        f"{file['subfolder']}/{file['filename']}"
    )
    assert [line for line in again.splitlines() if "smooth" in line] == [
        line for line in report.splitlines() if "smooth" in line
    ]
    (said,) = result.outputs[node_of(prompt, "X2VSaveModel")]["text"]
    assert "int8-channel-smooth" in open_checkpoint(server.base / said.rsplit(" (", 1)[0]).formats


def test_low_vram(ran, server):
    prompt, result, _ = ran("2 Wan 2.1 with little VRAM")
    (memory,) = result.outputs[node_of(prompt, "X2VMemoryReport")]["memory"]
    assert [component["name"].split(",")[0] for component in memory["components"]] == ["MODEL 1", "CLIP", "VAE"]
    assert "where there is nothing to move: block is treated as auto" in server.log.read_text()


def test_lightx2v_config(ran):
    """The report names what loads, and the settings that other nodes of the template have."""
    prompt, result, _ = ran("5 LightX2V configuration")
    (report,) = result.outputs[node_of(prompt, "PreviewAny")]["text"]
    config = json.loads(prompt[node_of(prompt, "X2VLoadConfig")]["inputs"]["text"])
    sigmas = prompt[node_of(prompt, "X2VDistilledSigmas")]["inputs"]
    assert [int(step) for step in sigmas["denoising_step_list"].split(",")] == config["denoising_step_list"]
    assert sigmas["shift"] == config["sample_shift"]
    for part in (
        f"MODEL: {config['dit_quantized_ckpt']} (Wan 2.1 t2v, int8-channel)",
        f"CLIP: {config['t5_quantized_ckpt']} (umt5 encoder, int8-channel)",
        f"offload: {config['offload_granularity']},",
        "1, 0.9375, 0.83333333, 0.625, 0",
        "EmptyHunyuanLatentVideo",
        "VAEDecodeTiled",
    ):
        assert part in report
