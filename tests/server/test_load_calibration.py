"""Load Calibration in the real server: what it refuses."""

import pytest
import torch

from x2v_quant.calibration import Calibration
from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader
from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow


@pytest.fixture
def loading(graph):
    """loading(name of a calibration) -> the demo's text to video, quantized with it."""

    def make(name):
        prompt, ids = graph(**{"X2VScheme.dit": "reference", "KSampler.steps": 1})
        loader = ids["X2VLoadDiT"]
        prompt[loader] = unet_loader(assets.names(assets.ORIGINAL).t2v)
        for entry in prompt.values():
            entry["inputs"].update({name: ["quantized", 0] for name, v in entry["inputs"].items() if v == [loader, 0]})
        given = {"model": [loader, 0], "format": "int8-channel", "scheme": [ids["X2VScheme"], 0]}
        prompt["quantized"] = {"class_type": "X2VQuantizeModel", "inputs": {**given, "calibration": ["loaded", 0]}}
        prompt["loaded"] = {"class_type": "X2VLoadCalibration", "inputs": {"calibration_name": name}}
        return prompt

    return make


@pytest.mark.parametrize(
    "maxima,words",
    [({"layers.0.attn": 8}, "knows none of the model's layers"), ({"blocks.0.ffn.0": 8}, "saw 8 input channels of")],
    ids=["names", "width"],
)
def test_a_calibration_of_another_model_is_refused(maxima, words, loading, server):
    folder = server.base / "input" / "calibration"
    folder.mkdir(exist_ok=True)
    seen = {layer: torch.ones(channels) for layer, channels in maxima.items()}
    Calibration(seen, calls=1).save(folder / "other.safetensors")
    with pytest.raises(ServerError, match=words):
        server.client.run(loading("calibration/other.safetensors"))


@pytest.mark.parametrize("name", ["calibration/gone.safetensors [output]", "../latents/secret.safetensors"])
def test_a_file_that_is_not_there_is_refused_before_anything_runs(name, loading, server):
    with pytest.raises(ServerError, match=r"The calibration .* is not in"):
        server.client.submit(loading(name))
