"""Templates run as they are, with the demo's files under the names that they have."""

import shutil

import pytest

from x2v_quant.calibrating import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.demo import assets
from x2v_quant.demo.graph import node_of, settings, workflow
from x2v_quant.demo.run import saved_video
from x2v_quant.demo.scenes import FRAMES, SIDE
from x2v_quant.demo.video import frames
from x2v_quant.headless.workflow import override, to_prompt

# node -> the demo's file that takes the place of the one that it names; of the text encoder, see bare_text_encoder
FILES = {
    "X2VLoadDiT": assets.names("int8").t2v,
    "UNETLoader": assets.names(assets.ORIGINAL).t2v,
    "VAELoader": settings("int8", "t2v")["VAELoader.vae_name"],
}
SIZE = {"width": SIDE, "height": SIDE, "length": FRAMES}
STEPS = 4
LAYERS = 40  # of the demo's diffusion model, that are quantized


@pytest.fixture
def template(server, object_info, bare_text_encoder):
    """template(name, size=(titles of nodes with a size), samplers=(titles or classes)) -> the API prompt, in which
    nothing but sizes and steps is changed."""

    def make(name, sizes, samplers):
        saved = workflow(name)
        for node in saved["nodes"]:
            if node["type"] in FILES:
                (model,) = node["properties"]["models"]
                folder = server.base / "models" / model["directory"]
                shutil.copy(folder / FILES[node["type"]], folder / model["name"])
        info = server.client.object_info()
        changes = {f"{title}.{key}": value for title in sizes for key, value in SIZE.items()}
        changes |= {f"{title}.steps": STEPS for title in samplers}
        return override(to_prompt(saved, info), changes, info)

    return make


def report_of(server, prompt, result):
    video = frames(saved_video(server, result, node_of(prompt, "SaveVideo")))
    assert video.shape == (FRAMES, SIDE, SIDE, 3)
    (report,) = result.outputs[node_of(prompt, "X2VKernelReport")]["text"]
    return report


def test_quantize_and_save(template, server):
    prompt = template("quantize_and_save", ["Video Size"], ["KSampler"])
    result = server.client.run(prompt)
    assert f"{LAYERS} layers int8-channel ->" in report_of(server, prompt, result)
    (path,) = (server.base / "output" / "diffusion_models").glob("wan2.1_t2v_1.3B_int8_*.safetensors")
    checkpoint = open_checkpoint(path)
    assert not checkpoint.problems
    assert checkpoint.formats == {"int8-channel": LAYERS}
    (said,) = result.outputs[node_of(prompt, "X2VSaveModel")]["text"]
    assert str(path) in said


def test_calibrate(template, server):
    prompt = template("calibrate", ["Calibration Size", "Video Size"], ["Calibration Sampler", "Video Sampler"])
    result = server.client.run(prompt)
    report = report_of(server, prompt, result)
    assert "int8-channel-smooth ->" in report
    assert "layers are smoothed" in report
    (file,) = result.outputs[node_of(prompt, "X2VFinishCalibration")]["calibrations"]
    calibration = Calibration.load(server.base / "output" / file["subfolder"] / file["filename"])
    assert len(calibration.maxima) >= LAYERS
    assert calibration.calls >= STEPS


def test_low_vram(template, server):
    prompt = template("low_vram", ["EmptyHunyuanLatentVideo"], ["KSampler"])
    result = server.client.run(prompt)
    report_of(server, prompt, result)
    (memory,) = result.outputs[node_of(prompt, "X2VMemoryReport")]["memory"]
    assert [component["name"].split(",")[0] for component in memory["components"]] == ["MODEL 1", "CLIP", "VAE"]
    assert "where block has nothing to move: it runs on auto" in server.log.read_text()
