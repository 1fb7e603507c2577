"""Templates run as they are after "Download all": with small files under the names that they list, in the folders that
they list, and nothing else. Only sizes and steps are changed."""

import io
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image
from template_cases import CASES, LAYERS, STEPS
from template_models import FILES

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.demo.graph import TEMPLATES, WORKFLOWS, node_of, workflow
from x2v_quant.demo.prompts import DEFAULT
from x2v_quant.demo.run import saved_video
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.demo.video import START_IMAGE, START_SEED, frames, start_image
from x2v_quant.headless.server import serve
from x2v_quant.headless.workflow import override, to_prompt
from x2v_quant.rounding.record import Record

pytestmark = pytest.mark.slow

REFERENCE = Path(__file__).parent / "reference_pack"
VIDEO = {"width": SIDE, "height": SIDE, "length": FRAMES}
PICTURE = {"width": SIDE, "height": SIDE}
SCHEME = {"t5": "auto", "clip": "auto", "compute_dtype": "auto", "strict": True, "transcode": False}


def test_every_template_that_is_not_the_demos_has_a_row():
    assert {path.stem for path in WORKFLOWS.glob("*.json")} == {*CASES, *TEMPLATES.values()}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """With no model at all: what a template lists is there while it runs."""
    base = tmp_path_factory.mktemp("templates")
    (base / "models").mkdir()
    (base / "input").mkdir()
    start_image(DEFAULT, START_SEED).save(base / "input" / START_IMAGE)
    with serve(base, cpu=True, more_packs=[REFERENCE]) as running:
        yield running


def models_of(saved):
    """Every model that a template's loaders carry, with its name and its folder."""
    return [model for node in saved["nodes"] for model in node["properties"].get("models", ())]


@pytest.fixture
def placed(server, demo_models):
    """placed(saved) puts a file of FILES under each name that a template lists, into the folder that it lists, and
    leaves no other there. They are removed again: two are large."""

    def clear():
        # Windows keeps a file that is mapped
        shutil.rmtree(server.base / "models", ignore_errors=True)

    def place(saved):
        clear()
        for model in models_of(saved):
            path = server.base / "models" / model["directory"] / model["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            FILES[model["name"]](demo_models, path)

    yield place
    clear()


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
        texts = [result.outputs[node]["text"][0] for node in nodes_of(prompt, "X2VKernelReport")]
        report = "\n".join(texts)
        assert case.says in report
        return prompt, result, report

    return run


def nodes_of(prompt, class_type):
    return [node for node, entry in prompt.items() if entry["class_type"] == class_type]


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
    [
        "2 Wan 2.2 picture to video, 4 steps",
        "2 Wan 2.2 5B, text or picture to video",
        "3 Flux.1 Krea",
        "3 Qwen-Image, 4 steps",
        "3 Z-Image Turbo",
    ],
)
def test_it_runs(ran, name):
    ran(name)


@pytest.mark.parametrize(
    "name,models",
    [
        ("2 Wan 2.1 text to video, 4 steps", {"DiT", "T5"}),
        ("2 Wan 2.1 picture to video, 4 steps", {"DiT", "T5", "CLIP"}),
    ],
)
def test_wan21(ran, name, models):
    """The report says of each model what runs; ComfyUI's own text encoder is one of them."""
    _, _, report = ran(name)
    assert models <= {line.rstrip(":") for line in report.splitlines()}
    assert "fp8-channel ->" in report


def test_compare_quality(ran):
    """What Compare Models finds is left out by the second Quantize Model."""
    prompt, result, _ = ran("5 Compare quality")
    (compare,) = nodes_of(prompt, "X2VCompare")
    (report,) = result.outputs[compare]["compare"]
    assert report["keep"]
    kept = next(entry for entry in prompt.values() if entry["_meta"]["title"] == "Quantize With Exceptions")
    assert kept["inputs"]["layers"] == [compare, 1]


def test_first_and_last_frame(ran):
    """What Quantized Sampler Patch is for: the first steps and the last in high precision, a report of each."""
    prompt, result, _ = ran("2 Wan 2.1 first and last frame")
    (sampler,) = result.outputs[node_of(prompt, "X2VStepReport")]["samplers"]
    assert [step["quantized"] > 0 for step in sampler["steps"]] == [False, False, True, False]


def test_wan22_text_to_video(ran):
    prompt, result, _ = ran("2 Wan 2.2 text to video, 4 steps")
    (report,) = result.outputs[node_of(prompt, "PreviewAny")]["text"]
    assert report.startswith("The whole LoRA is used: ")


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
    (path,) = (server.base / "output").glob("diffusion_models/wan2.1_t2v_1.3B_int8_smooth*.safetensors")
    assert path.relative_to(server.base).as_posix() in said
    assert "int8-channel-smooth" in open_checkpoint(path).formats


def test_quantize_to_4_bits(ran, server):
    """By GPTQ, which the file says of itself; it loads as what was sampled."""
    prompt, result, report = ran("4 Quantize to 4 bits")
    assert f"Rounded with GPTQ: {LAYERS} layers." in report
    (said,) = result.outputs[node_of(prompt, "X2VSaveModel")]["text"]
    (path,) = (server.base / "output").glob("diffusion_models/wan2.1_t2v_1.3B_w4a8*.safetensors")
    assert path.relative_to(server.base).as_posix() in said
    checkpoint = open_checkpoint(path)
    assert not checkpoint.problems
    assert sum(count for name, count in checkpoint.formats.items() if name.startswith("w4a8")) == LAYERS
    record = Record.read(checkpoint.metadata)
    assert record.methods == {"gptq": LAYERS}
    assert record.tokens > 0


def test_low_vram(ran):
    prompt, result, _ = ran("2 Wan 2.1 with little VRAM")
    (memory,) = result.outputs[node_of(prompt, "X2VMemoryReport")]["memory"]
    assert [component["name"].split(",")[0] for component in memory["components"]] == ["MODEL 1", "CLIP", "VAE"]


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
        f"CLIP: {config['t5_quantized_ckpt']} (umt5 encoder, fp8-channel)",
        f"offload: {config['offload_granularity']},",
        "1, 0.9375, 0.83333333, 0.625, 0",
        "EmptyHunyuanLatentVideo",
        "VAEDecodeTiled",
    ):
        assert part in report
