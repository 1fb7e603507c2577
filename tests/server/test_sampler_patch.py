"""Quantized Sampler Patch, Step Report and Distilled Sigmas in the real server, and their errors in the history."""

import pytest
import torch
from error_cases.sampling import OFF
from safetensors import safe_open
from safetensors.torch import save_file

from x2v_quant.demo import assets
from x2v_quant.headless.client import ServerError
from x2v_quant.runtime.compiling.apply import why_not

pytestmark = pytest.mark.slow

STEPS = 3
SPOILT = "spoilt.safetensors"
SPOILT_LAYER = "blocks.1.ffn.2"


@pytest.fixture(scope="module", autouse=True)
def spoilt(server):
    """The demo's int8 model with one number that is none."""
    folder = server.base / "models" / assets.FOLDERS["t2v"]
    with safe_open(folder / assets.names("int8").t2v, framework="pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - a file is no mapping
    tensors[f"{SPOILT_LAYER}.bias"][0] = float("nan")
    save_file(tensors, folder / SPOILT, metadata)


@pytest.fixture
def base(graph):
    """base(scheme) -> (prompt, ids) of the demo in a few steps; `reference` quantizes activations on every machine."""
    return lambda scheme="reference": graph(
        **{"X2VScheme.dit": scheme, "X2VScheme.compute_dtype": "fp32", "KSampler.steps": STEPS}
    )


@pytest.fixture
def patch(base):
    """patch(**inputs) -> (prompt, ids): the same with a patch behind the loader and a report behind the sampler."""

    def make(**inputs):
        prompt, ids = base()
        model = [ids["X2VLoadDiT"], 0]
        for entry in prompt.values():
            entry["inputs"].update({name: ["patch", 0] for name, value in entry["inputs"].items() if value == model})
        prompt["patch"] = {"class_type": "X2VSamplerPatch", "inputs": {"model": model, **OFF, **inputs}}
        after = {"steps": ["patch", 1], "after": [ids["KSampler"], 0]}
        prompt["report"] = {"class_type": "X2VStepReport", "inputs": after}
        return prompt, ids

    return make


@pytest.fixture
def latent(run):
    """(prompt, ids) -> the latent that it saves"""
    return lambda made: run(made[0])[0]


def test_everything_off_changes_no_bit(base, patch, latent):
    assert torch.equal(latent(patch()), latent(base()))


@pytest.mark.parametrize(
    "switched",
    [{"nan_guard": True}, {"step_report": True}, {"shared_activations": True}],
    ids=lambda switched: next(iter(switched)),
)
def test_what_only_looks_changes_no_bit(switched, base, patch, latent):
    assert torch.equal(latent(patch(**switched)), latent(base()))


@pytest.mark.parametrize(
    "schedule",
    [{"high_first_steps": STEPS}, {"high_end_percent": 1.0}, {"high_precision_layers": "blocks.*"}],
    ids=lambda schedule: next(iter(schedule)),
)
def test_everything_in_high_precision_is_dequant(schedule, base, patch, latent):
    assert torch.equal(latent(patch(**schedule)), latent(base("dequant")))


def test_the_report_is_in_the_history(patch, server):
    prompt, ids = patch(step_report=True, high_first_steps=1, shared_activations=True)
    prompt[ids["KSampler"]]["inputs"]["seed"] = 71
    shown = server.client.run(prompt).outputs["report"]
    (run,) = shown["samplers"]
    assert run["sampler"] == ids["KSampler"]
    assert [group["kernel"] for group in run["kernels"]] == ["reference"]
    assert [step["step"] for step in run["steps"]] == [1, 2, 3]
    assert [step["quantized"] > 0.5 for step in run["steps"]] == [False, True, True]
    assert all(step["seconds"] > 0 and step["tokens_per_second"] > 0 for step in run["steps"])
    (text,) = shown["text"]
    assert f"sampler {ids['KSampler']}: 3 of 3 steps" in text
    assert any("q, k, v" in note for note in shown["notes"])
    # the same again comes from the cache, another seed is a new run
    again = server.client.run(prompt).outputs["report"]
    assert again["samplers"] == shown["samplers"]
    prompt[ids["KSampler"]]["inputs"]["seed"] = 72
    (other,) = server.client.run(prompt).outputs["report"]["samplers"]
    assert other["steps"] != run["steps"]


@pytest.mark.skipif(why_not(torch.device("cpu")) is None, reason="this machine can compile")
def test_a_machine_that_cannot_compile_samples_and_says_so(patch, base, server, latent):
    made = patch(compile_blocks=True)
    assert torch.equal(latent(made), latent(base()))
    (note,) = server.client.run(made[0]).outputs["report"]["notes"]
    assert f"not compiled: {why_not(torch.device('cpu'))}" in note


def test_a_report_that_was_switched_off_says_so(patch, server):
    (text,) = server.client.run(patch()[0]).outputs["report"]["text"]
    assert "switch step report of Quantized Sampler Patch on" in text


def test_nan_stops_the_run_and_names_the_layer(patch, server):
    prompt, ids = patch(nan_guard=True)
    prompt[ids["X2VLoadDiT"]]["inputs"]["model_name"] = SPOILT
    message = rf"KSampler.* Step 1 of 3 .*weights of layer {SPOILT_LAYER} .*int8-channel on reference.*inspect"
    with pytest.raises(ServerError, match=message):
        server.client.run(prompt)


@pytest.mark.parametrize(
    "inputs,message",
    [
        ({"high_precision_layers": "blocks.1.fnn.2"}, r"No quantized layer is called 'blocks\.1\.fnn\.2'.*ffn\.2"),
        ({"high_precision_layers": "ffn = int8"}, r"Line 1 of the layer rules"),
    ],
)
def test_what_is_refused(inputs, message, patch, server):
    with pytest.raises(ServerError, match=f"X2VSamplerPatch.*{message}"):
        server.client.run(patch(**inputs)[0])


def test_a_model_that_is_not_quantized_has_no_schedule(patch, server):
    prompt, _ = patch(high_first_steps=1)
    name = assets.names(assets.ORIGINAL).t2v
    prompt["patch"]["inputs"]["model"] = ["core", 0]
    prompt["core"] = {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": "default"}}
    with pytest.raises(ServerError, match="no layer that this pack has quantized"):
        server.client.run(prompt)


@pytest.fixture
def distilled(base):
    """distilled(*outputs of Distilled Sigmas, **its inputs) -> (prompt, ids): a SamplerCustom for each output, the
    first adds the noise. Quantized activations would turn a difference in the last bit into one of a whole step."""

    def make(*outputs, **inputs):
        prompt, ids = base("dequant")
        given = {"denoising_step_list": "1000, 750, 500, 250", "shift": 8.0, "boundary_step_index": 2, **inputs}
        prompt["sigmas"] = {"class_type": "X2VDistilledSigmas", "inputs": given}
        prompt["euler"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}}
        core = prompt[ids["KSampler"]]["inputs"]
        last = core["latent_image"]
        for output in outputs:
            prompt[f"sampler {output}"] = {
                "class_type": "SamplerCustom",
                "inputs": {
                    **{name: core[name] for name in ("model", "positive", "negative", "cfg")},
                    "add_noise": output == outputs[0],
                    "noise_seed": core["seed"],
                    "sampler": ["euler", 0],
                    "sigmas": ["sigmas", output],
                    "latent_image": last,
                },
            }
            last = [f"sampler {output}", 0]
        prompt["latent"]["inputs"]["samples"] = last
        return prompt, ids

    return make


def test_two_experts_do_what_one_sampler_does(distilled, latent):
    whole, parts = latent(distilled(0)), latent(distilled(1, 2))
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "inputs,message",
    [
        ({"denoising_step_list": "1000, 1500"}, "falling whole numbers between 1000 and 1"),
        ({"boundary_step_index": 5}, "the step list has 4"),
    ],
)
def test_schedules_that_are_none(inputs, message, distilled, server):
    with pytest.raises(ServerError, match=f"X2VDistilledSigmas.*{message}"):
        server.client.run(distilled(0, **inputs)[0])
