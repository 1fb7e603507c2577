"""Calibrate, Finish Calibration, Load Calibration and Quantize Model in the real server, and what its cache does."""

import re

import pytest
import small_wan
from distance import distance
from safetensors import safe_open
from safetensors.torch import save_file

from x2v_quant.calibration import Calibration
from x2v_quant.common.sizes import amount
from x2v_quant.demo import assets
from x2v_quant.demo.graph import unet_loader
from x2v_quant.headless.client import ServerError

pytestmark = pytest.mark.slow

ORIGINAL = assets.names(assets.ORIGINAL)
PLANTED = "planted.safetensors"
# a power of two, so that the planted bfloat16 weights are the same numbers
STEPS = 60  # of a run that is interrupted before half of them
CHANNELS, TIMES = [3, 40, 77, 101], 256.0


@pytest.fixture(scope="module", autouse=True)
def planted(server):
    """The trained model with outliers in the inputs of cross-attention's queries; it computes what it did."""
    folder = server.base / "models" / assets.FOLDERS["t2v"]
    with safe_open(folder / ORIGINAL.t2v, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - a file is no mapping
    for key in [key for key in tensors if ".norm3." in key]:
        tensors[key][CHANNELS] *= TIMES
    for key in [key for key in tensors if key.endswith("cross_attn.q.weight")]:
        tensors[key][:, CHANNELS] /= TIMES
    save_file(tensors, folder / PLANTED, metadata)


@pytest.fixture
def base(graph):
    """The demo's text to video with the planted model in ComfyUI's own loader, in few steps: (prompt, its MODEL)."""
    prompt, ids = graph(**{"X2VScheme.dit": "reference", "X2VScheme.compute_dtype": "fp32", "KSampler.steps": 2})
    loader = ids["X2VLoadDiT"]
    prompt[loader] = unet_loader(PLANTED)
    return prompt, ids, [loader, 0]


@pytest.fixture
def quantized(base):
    """quantized(**inputs) -> the base with Quantize Model behind the loader; inputs: more of its inputs."""

    def make(**inputs):
        prompt, ids, model = base
        for entry in prompt.values():
            entry["inputs"].update({name: ["quantized", 0] for name, v in entry["inputs"].items() if v == model})
        given = {"model": model, "format": "int8-channel", "scheme": [ids["X2VScheme"], 0], **inputs}
        return {**prompt, "quantized": {"class_type": "X2VQuantizeModel", "inputs": given}}

    return make


@pytest.fixture
def calibrating(base, quantized):
    """calibrating(seed, prefix, tokens, **inputs) -> the same behind a sampler that calibrates. seed: of that sampler;
    prefix: of the file; tokens: of each layer, None for what is there without the input; inputs: more of Quantize
    Model's."""

    def make(seed=5, prefix="", tokens=0, **inputs):
        prompt, ids, model = base
        prompt = quantized(calibration=["finished", 0], **inputs)
        first = {**prompt[ids["KSampler"]]["inputs"], "model": ["calibrate", 0], "seed": seed, "steps": 1}
        recorded = {} if tokens is None else {"tokens": tokens}
        finish = {"recording": ["calibrate", 1], "latent": ["first", 0], "filename_prefix": prefix}
        return {
            **prompt,
            "calibrate": {"class_type": "X2VCalibrate", "inputs": {"model": model, **recorded}},
            "first": {"class_type": "KSampler", "inputs": first},
            "finished": {"class_type": "X2VFinishCalibration", "inputs": finish},
        }

    return make


@pytest.fixture
def executed(server):
    """executed(prompt) -> the nodes that ran, the others came from the cache; and what was shown."""

    def run(prompt):
        nodes = set()

        def note(event):
            if event.type == "executing":
                nodes.add(event.data["node"])

        result = server.client.run(prompt, note)
        return nodes - {None}, result

    return run


CALIBRATING = {"calibrate", "first"}


def files(result):
    return result.outputs["finished"]["calibrations"]


def saved(server, result):
    (file,) = files(result)
    return server.base / "output" / file["subfolder"] / file["filename"]


def test_calibrate_sample_quantize_sample_in_one_graph(base, quantized, calibrating, run):
    wanted, _ = run({name: {**entry, "inputs": dict(entry["inputs"])} for name, entry in base[0].items()})
    plain, report = run(quantized())
    assert "-smooth ->" not in report
    smooth, report = run(calibrating())
    assert "layers int8-channel-smooth -> reference" in report
    print(f"int8 {distance(plain, wanted):.4f}, smoothed {distance(smooth, wanted):.4f}")
    assert distance(smooth, wanted) < distance(plain, wanted) / 3


def test_another_format_takes_the_calibration_out_of_the_cache(calibrating, executed, run):
    executed(calibrating())
    nodes, _ = executed(calibrating(format="fp8-channel"))
    assert "quantized" in nodes
    assert not nodes & {*CALIBRATING, "finished"}
    assert "fp8-channel-smooth ->" in run(calibrating(format="fp8-channel"))[1]


def test_the_same_prompt_twice_samples_once(calibrating, executed):
    executed(calibrating(seed=6))
    assert executed(calibrating(seed=6))[0] == set()


def test_what_was_recorded_is_there_when_only_the_file_is_new(calibrating, executed, server):
    executed(calibrating(seed=7))
    nodes, result = executed(calibrating(seed=7, prefix="calibration/new"))
    assert "finished" in nodes
    assert not nodes & CALIBRATING
    assert Calibration.load(saved(server, result)).calls > 0


def test_a_new_seed_adds_to_what_was_recorded(calibrating, executed, server):
    _, result = executed(calibrating(seed=8, prefix="calibration/adds"))
    first = Calibration.load(saved(server, result))
    nodes, result = executed(calibrating(seed=9, prefix="calibration/adds"))
    both = Calibration.load(saved(server, result))
    assert "calibrate" not in nodes
    assert both.calls > first.calls
    assert all((both.maxima[layer] >= maxima).all() for layer, maxima in first.maxima.items())
    assert f"{len(both.maxima)} layers, {both.calls} calls of the model, saved as adds_0000" in text(result)


def test_tokens_are_recorded_and_saved_as_many_as_asked_for(calibrating, executed, server):
    begin = server.log.stat().st_size
    _, result = executed(calibrating(seed=30, prefix="calibration/tokens", tokens=50))
    path = saved(server, result)
    calibration = Calibration.load(path)
    counts = {layer: len(calibration.inputs_of(layer)) for layer in calibration.maxima}
    assert max(counts.values()) == counts["blocks.0.ffn.0"] == 50
    assert calibration.same_inputs("blocks.0.self_attn.v") == calibration.same_inputs("blocks.0.self_attn.q")
    assert f"up to 50 tokens each, saved as {path.name} ({amount(path.stat().st_size)}) in" in text(result)
    log = server.log.read_bytes()[begin:].decode(errors="replace")
    said = r"Calibrate: Records up to 50 tokens for each of \d+ layers: up to [\d.]+ [kM]B of RAM, "
    assert len(re.findall(said, log)) == 1


def test_a_prompt_without_the_input_records_what_it_did_before_there_was_one(calibrating, executed, server):
    """No tokens, though the node has 2048 where it is new."""
    _, result = executed(calibrating(seed=31, prefix="calibration/older", tokens=None))
    calibration = Calibration.load(saved(server, result))
    assert calibration.maxima and calibration.inputs == {}
    (spec,) = server.client.object_info()["X2VCalibrate"]["input"]["optional"].values()
    assert spec[1]["default"] == 2048


def test_other_tokens_start_over(calibrating, executed, server):
    executed(calibrating(seed=32, tokens=20))
    nodes, result = executed(calibrating(seed=32, tokens=0, prefix="calibration/none"))
    assert nodes >= CALIBRATING
    assert Calibration.load(saved(server, result)).inputs == {}
    assert "tokens" not in text(result)


def test_an_interrupted_run_is_not_counted_into_the_next(calibrating, executed, server):
    wanted = [calibrating(seed=20, prefix="calibration/whole"), calibrating(seed=21, prefix="calibration/again")]
    for prompt in wanted:
        prompt["first"]["inputs"]["steps"] = STEPS
    # another model for the run that is not interrupted, so that it records by itself
    wanted[0]["calibrate"]["inputs"]["model"] = ["shifted", 0]
    wanted[0]["shifted"] = {
        "class_type": "ModelSamplingSD3",
        "inputs": {"model": wanted[1]["calibrate"]["inputs"]["model"], "shift": 8.0},
    }
    whole = Calibration.load(saved(server, executed(wanted[0])[1])).calls

    def interrupt(event):
        if event.type == "progress" and event.data["node"] == "first" and event.data["value"] < STEPS // 2:
            server.client.interrupt()

    with pytest.raises(ServerError, match="interrupted"):
        server.client.run(wanted[1], interrupt)
    nodes, result = executed(wanted[1])
    assert "first" in nodes and "calibrate" not in nodes
    assert Calibration.load(saved(server, result)).calls == whole


def text(result):
    return result.outputs["finished"]["text"][0]


def test_another_model_starts_anew(calibrating, executed, server):
    """With what is recorded of it alone, and what is recorded is still there in the next run."""
    executed(calibrating(seed=10))
    prompt = calibrating(seed=10, prefix="calibration/other")
    shifted = {
        "class_type": "ModelSamplingSD3",
        "inputs": {"model": prompt["calibrate"]["inputs"]["model"], "shift": 5.0},
    }
    prompt |= {"shifted": shifted, "calibrate": {**prompt["calibrate"], "inputs": {"model": ["shifted", 0]}}}
    nodes, result = executed(prompt)
    assert nodes >= {*CALIBRATING, "finished"}
    calls = Calibration.load(saved(server, result)).calls
    assert calls in (1, 2)  # a step, with the negative prompt in the same call or not
    prompt["finished"]["inputs"]["filename_prefix"] = "calibration/again"
    nodes, result = executed(prompt)
    assert not nodes & CALIBRATING
    assert Calibration.load(saved(server, result)).calls == calls


def test_a_cache_that_was_cleared_samples_again(calibrating, quantized, executed, server):
    executed(calibrating(seed=11))
    server.client.free()
    executed(quantized())  # the server may take this first
    nodes, result = executed(calibrating(seed=11, prefix="calibration/cleared"))
    assert nodes >= CALIBRATING
    assert Calibration.load(saved(server, result)).calls > 0


def test_a_saved_calibration_loads_as_the_same(calibrating, quantized, executed, run, server):
    latent, _ = run(calibrating(seed=12, prefix="calibration/kept"))
    _, result = executed(calibrating(seed=12, prefix="calibration/kept"))
    name = f"calibration/{files(result)[0]['filename']} [output]"
    (options,) = [
        spec[1]["options"] for spec in server.client.object_info()["X2VLoadCalibration"]["input"]["required"].values()
    ]
    assert name in options
    prompt = quantized(calibration=["loaded", 0])
    prompt["loaded"] = {"class_type": "X2VLoadCalibration", "inputs": {"calibration_name": name}}
    again, report = run(prompt)
    assert "int8-channel-smooth ->" in report
    assert distance(again, latent) < 1e-6


def test_a_lora_behind_it_works(calibrating, run, server):
    tensors = small_wan.lora({"blocks.0.cross_attn.q": (128, 128)}, seed=11, strength=1.0)
    folder = server.base / "models" / "loras"
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "calibrate_lora.safetensors")
    plain, _ = run(calibrating())
    prompt = calibrating()
    for entry in prompt.values():
        entry["inputs"].update({name: ["lora", 0] for name, v in entry["inputs"].items() if v == ["quantized", 0]})
    inputs = {"model": ["quantized", 0], "lora_name": "calibrate_lora.safetensors", "strength_model": 1.0}
    prompt["lora"] = {"class_type": "LoraLoaderModelOnly", "inputs": inputs}
    changed, report = run(prompt)
    assert "int8-channel-smooth ->" in report
    assert 0.001 < distance(changed, plain) < 1


def test_nothing_sampled_is_refused(calibrating, executed):
    """A sampler runs, and another Calibrate of the same inputs records: each node has a recording of its own."""
    prompt = calibrating()
    prompt["second"] = {**prompt["calibrate"]}
    prompt["finished"]["inputs"]["recording"] = ["second", 1]
    with pytest.raises(ServerError, match="calibration is empty: nothing was sampled"):
        executed(prompt)
