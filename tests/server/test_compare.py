"""Compare in the real server: what it says of the demo's models, what is in the history, and what stops it."""

import io

import pytest
import safetensors.torch
from distance import distance
from PIL import Image

from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader
from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow

ORIGINAL = assets.names(assets.ORIGINAL)
BAD = "blocks.1.ffn.2"
STEPS = 3
BEHIND = ("X2VQuantizeModel", "ModelSamplingSD3")  # nodes with a MODEL as input


@pytest.fixture
def comparing(graph):
    """comparing(candidate's class, **inputs of it) -> a prompt: core's bf16 model as the reference; as the candidate a
    loader, or a node of BEHIND behind the reference."""

    def make(kind="X2VQuantizeModel", **inputs):
        prompt, ids = graph()
        sampler = prompt.pop(ids["KSampler"])["inputs"]
        del prompt["latent"]
        dense, shift = ids["X2VLoadDiT"], ids["ModelSamplingSD3"]
        prompt[dense] = unet_loader(ORIGINAL.t2v)
        vae = {"class_type": "VAELoader", "inputs": {"vae_name": ORIGINAL.vae}}
        inputs = {"model": [shift, 0], **inputs} if kind in BEHIND else inputs
        model = sampler.pop("model")
        inputs_of_compare = {
            **sampler,
            "reference": model,
            "candidate": ["candidate", 0],
            "steps": STEPS,
            "vae": ["vae", 0],
        }
        return {
            **prompt,
            "vae": vae,
            "candidate": {"class_type": kind, "inputs": inputs},
            "compare": {"class_type": "X2VCompare", "inputs": inputs_of_compare},
        }

    return make


@pytest.fixture
def outcome(server):
    """prompt -> (verdict, lines, the report as JSON, its pictures)."""

    def run(prompt, node="compare"):
        shown = server.client.run(prompt).outputs[node]
        pictures = [Image.open(io.BytesIO(server.client.view(file))) for file in shown["images"]]
        (verdict, lines), (report,) = shown["text"], shown["compare"]
        return verdict, lines, report, pictures

    return run


def test_a_bad_layer_is_named_and_its_line_goes_into_quantize_model(comparing, outcome, server):
    planted = f"{BAD} = int4-g128"
    prompt = comparing(format="int8-channel", layers=planted)
    verdict, lines, report, pictures = outcome(prompt)
    assert lines == "\n".join(report["keep"])
    assert report["keep"][0] == f"{BAD} = keep"
    assert f"Keep in high precision: {BAD} (" in verdict
    assert len(report["steps"]) == STEPS and all(0 < error < 1 for error in report["steps"])
    assert report["psnr_db"] > 20 and 0.5 < report["ssim"] < 1
    assert [picture.width > 300 for picture in pictures] == [True, True]
    # its own output as the lines of another Quantize Model
    prompt["candidate again"] = {
        "class_type": "X2VQuantizeModel",
        "inputs": {**prompt["candidate"]["inputs"], "layers": ["compare", 1]},
    }
    again = {**prompt["compare"]["inputs"], "candidate": ["candidate again", 0]}
    prompt["again"] = {"class_type": "X2VCompare", "inputs": again}
    _, _, better, _ = outcome(prompt, "again")
    assert better["latent_error"] < report["latent_error"]
    assert better["psnr_db"] > report["psnr_db"]


def test_a_model_is_identical_to_itself(comparing, outcome):
    prompt = comparing()
    prompt["compare"]["inputs"]["candidate"] = prompt["compare"]["inputs"]["reference"]
    del prompt["candidate"]
    verdict, lines, report, _ = outcome(prompt)
    assert verdict.startswith("Identical: all")
    assert report["identical"] and report["latent_error"] == 0 and lines == ""
    assert report["steps"] == [0] * STEPS and report["psnr_db"] is None
    assert all(layer["identical"] for layer in report["layers"])


def test_a_file_of_another_loader(comparing, outcome):
    _, _, report, _ = outcome(comparing("X2VLoadDiT", model_name=assets.names("int8").t2v))
    assert {layer["candidate"].split(" on ")[0] for layer in report["layers"] if "block" in layer["layer"]} == {
        "int8-channel"
    }
    assert 0 < report["latent_error"] < 0.1


def test_every_output_is_there(comparing, server):
    """Latents of both models as SaveLatent writes them, texts and pictures as core's nodes take them."""
    prompt = comparing(format="int8-channel")
    for number, name in ((5, "reference"), (6, "candidate")):
        inputs = {"samples": ["compare", number], "filename_prefix": f"latents/compare_{name}"}
        prompt[f"save {name}"] = {"class_type": "SaveLatent", "inputs": inputs}
    for number in (0, 1, 2):
        prompt[f"text {number}"] = {"class_type": "PreviewAny", "inputs": {"source": ["compare", number]}}
    for number in (3, 4):
        prompt[f"image {number}"] = {"class_type": "PreviewImage", "inputs": {"images": ["compare", number]}}
    outputs = server.client.run(prompt).outputs
    verdict, lines, report = (outputs[f"text {number}"]["text"][0] for number in (0, 1, 2))
    assert (verdict, lines) == tuple(outputs["compare"]["text"])
    assert report.startswith(verdict) and "| blocks.0.ffn.0 |" in report
    assert all(outputs[f"image {number}"]["images"] for number in (3, 4))
    latents = []
    for name in ("reference", "candidate"):
        (file,) = outputs[f"save {name}"]["latents"]
        path = server.base / "output" / file["subfolder"] / file["filename"]
        latents.append(safetensors.torch.load_file(path)["latent_tensor"].float())
    difference = distance(latents[1], latents[0])
    assert difference == pytest.approx(outputs["compare"]["compare"][0]["latent_error"], rel=1e-3)


def test_progress_is_that_of_both_models(comparing, server):
    seen = []
    server.client.run(comparing(format="int8-channel", layers="ffn.0 = keep"), seen.append)
    states = [event.data["nodes"].get("compare") for event in seen if event.type == "progress_state"]
    values = [state["value"] for state in states if state and state["max"] == 2 * STEPS]
    # the server leaves out what comes too soon behind another
    assert values == sorted(values) and values[-1] == 2 * STEPS
    assert {value <= STEPS for value in values} == {True, False}


@pytest.mark.parametrize(
    "kind,inputs,words",
    [
        ("X2VLoadDiT", {"model_name": assets.names("int8").i2v}, r"do not match: the reference has no layer .*k_img"),
        ("ModelSamplingSD3", {"shift": 3.0}, "sampled at different noise levels"),
    ],
    ids=["another model", "another shift"],
)
def test_models_that_do_not_match_are_refused(comparing, outcome, kind, inputs, words):
    with pytest.raises(ServerError, match=words):
        outcome(comparing(kind, **inputs))


@pytest.mark.parametrize(
    "changes,words",
    [({"sampler_name": "dpm_adaptive"}, "dpm_adaptive chooses"), ({"denoise": 0.0}, "nothing to sample")],
)
def test_settings_without_steps_are_refused(comparing, outcome, changes, words):
    prompt = comparing(format="int8-channel")
    prompt["compare"]["inputs"].update(changes)
    with pytest.raises(ServerError, match=words):
        outcome(prompt)
