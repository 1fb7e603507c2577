"""Every rounding of Quantize Model with what a calibration recorded, as prompts to the real server."""

import pytest
from distance import distance

from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader
from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS
from x2v_quant.rounding.methods import TOKENS, method_for
from x2v_quant.rounding.record import words_of

pytestmark = pytest.mark.slow

ORIGINAL = assets.names(assets.ORIGINAL)
LAYERS = 40
NEAREST, AUTO = "nearest", "auto"
ROUNDINGS = (AUTO, NEAREST, "mse", "gptq")
# format -> the part of what rounding to the nearest loses that GPTQ may lose, at most. None: activations of 8 bits lose
# more than the weights there, and one video does not tell
GAINS = {"int8-convrot": None, "int4-g128": 0.6, "w4a8": 0.6, "nvfp4": 0.9}


@pytest.fixture
def base(graph):
    """The demo's text to video with the unquantized model in ComfyUI's own loader: (prompt, its MODEL, the scheme)."""
    prompt, ids = graph(**{"X2VScheme.dit": "reference", "X2VScheme.compute_dtype": "fp32", "KSampler.steps": 4})
    prompt[ids["X2VLoadDiT"]] = unet_loader(ORIGINAL.t2v)
    return prompt, [ids["X2VLoadDiT"], 0], [ids["X2VScheme"], 0]


def behind(prompt, model, node):
    """The prompt with `node` between `model` and whoever takes it."""
    for entry in prompt.values():
        entry["inputs"].update({name: [node, 0] for name, value in entry["inputs"].items() if value == model})


@pytest.fixture
def quantized(base):
    """quantized(**inputs of Quantize Model) -> the same behind a Calibrate and a sampler of its own."""

    def make(**inputs):
        prompt, model, scheme = base
        behind(prompt, model, "quantized")
        (sampler,) = (entry["inputs"] for entry in prompt.values() if entry["class_type"] == "KSampler")
        first = {**sampler, "model": ["calibrate", 0], "seed": 5}
        finish = {"recording": ["calibrate", 1], "latent": ["first", 0], "filename_prefix": ""}
        given = {"model": model, "scheme": scheme, "calibration": ["finished", 0], **inputs}
        return {
            **prompt,
            "calibrate": {"class_type": "X2VCalibrate", "inputs": {"model": model, "tokens": 256}},
            "first": {"class_type": "KSampler", "inputs": first},
            "finished": {"class_type": "X2VFinishCalibration", "inputs": finish},
            "quantized": {"class_type": "X2VQuantizeModel", "inputs": given},
        }

    return make


def method(format_name, rounding):
    """What the layers of a format are rounded by."""
    return method_for(format_name, METHODS.get(rounding), TOKENS).name


@pytest.mark.parametrize("format_name", GAINS)
def test_each_rounding_is_what_it_says_and_gptq_is_the_best_of_4_bits(format_name, base, quantized, run, allowed):
    if format_name not in FORMATS:
        pytest.skip("this ComfyUI has no such format")
    plain, _ = run({name: {**entry, "inputs": dict(entry["inputs"])} for name, entry in base[0].items()})
    found = {}
    for rounding in ROUNDINGS:
        latent, report = run(quantized(format=format_name, rounding=rounding))
        found[rounding] = distance(latent, plain)
        said = method(format_name, rounding)
        words = f"Rounded {words_of({said: LAYERS})}."
        assert (words in report) == (said != NEAREST)
    print(format_name, found)
    assert method(format_name, AUTO) == "gptq"
    assert found[AUTO] == found["gptq"] != found[NEAREST]
    gain = GAINS[format_name]
    assert found["gptq"] < (allowed["int8"] if gain is None else gain * found[NEAREST])
    if method(format_name, "mse") == NEAREST:
        assert found["mse"] == found[NEAREST]
    # a prompt from before there was the input
    assert distance(run(quantized(format=format_name))[0], plain) == found[NEAREST]
