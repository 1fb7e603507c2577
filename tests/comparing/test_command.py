"""`x2v-quant compare` in this process, on the demo's files."""

import argparse
import json

import pytest
from PIL import Image

from x2v_quant.comparing import CompareError, command
from x2v_quant.demo import assets
from x2v_quant.kernels.machine import cpu_has_bf16
from x2v_quant.nodes.compare import Compare

SMALL = ["--size", "64", "64", "--steps", "3"]


@pytest.fixture
def file(demo_models):
    return lambda field, kind: str(demo_models / assets.FOLDERS[field] / getattr(assets.names(kind), field))


def run(*arguments):
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return command.run(parser.parse_args([*map(str, arguments)]))


def test_defaults_are_those_of_the_node_but_for_cfg():
    """Without a prompt, which the node always has, there is nothing that cfg could lead to."""
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    options = parser.parse_args(["reference", "candidate"])
    node = {entry.id: entry.default for entry in Compare.define_schema().inputs if hasattr(entry, "default")}
    assert (options.seed, options.steps) == (node["seed"], node["steps"])
    assert (options.sampler, options.scheduler) == (node["sampler_name"], node["scheduler"])
    assert options.cfg == 1
    assert f"{node['cfg']:g} is typical (the default of Compare Models" in " ".join(parser.format_help().split())


@pytest.mark.slow
def test_files_are_compared_and_pictures_written(file, tmp_path):
    found = run(file("t2v", "bf16"), file("t2v", "int8"), *SMALL, "--shift", "8", "--pictures", tmp_path / "new")
    json.dumps(found, allow_nan=False)
    assert (found["reference"], found["candidate"]) == (
        "x2v_demo_t2v_bf16.safetensors",
        "x2v_demo_t2v_int8.safetensors",
    )
    assert not found["identical"] and 0 < found["latent_error"] < 0.1
    assert len(found["steps"]) == 3 and found["psnr_db"] is None
    layers = {row["layer"]: row for row in found["layers"]}
    assert layers["blocks.0.ffn.0"]["candidate"].startswith("int8-channel on ")
    # it is not quantized: what differs is the rounding of the type that a CPU computes in
    assert layers["head.head"]["snr_db"] is None or layers["head.head"]["snr_db"] > (45 if cpu_has_bf16() else 60)
    assert all(Image.open(tmp_path / "new" / f"{name}.png").width > 300 for name in command.PICTURES)
    assert command.ok(found)
    assert found["keep"][0] in command.lines(found)
    first, second, *_ = command.lines(found)
    assert found["markdown"].startswith(first)
    assert second == "(x2v_demo_t2v_int8.safetensors compared with x2v_demo_t2v_bf16.safetensors)"


def test_a_prompt_and_the_decoded_result(file):
    prompts = ["--t5", file("t5", "int8"), "--prompt", "a red circle moving right", "--cfg", "3"]
    found = run(file("t2v", "int8"), file("t2v", "fp8"), *SMALL, *prompts, "--vae", file("vae", "int8"))
    assert found["psnr_db"] > 10 and 0 < found["ssim"] < 1
    other = run(file("t2v", "int8"), file("t2v", "fp8"), *SMALL, *prompts[:-3], "a blue square", "--cfg", "3")
    assert other["latent_error"] != found["latent_error"]


def test_a_file_is_identical_to_itself(file):
    found = run(file("t2v", "int8"), file("t2v", "int8"), *SMALL)
    assert found["identical"] and found["latent_error"] == 0 and found["keep"] == []
    assert command.ok(found)


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["nowhere.safetensors"], r"nothing at nowhere\.safetensors"),
        ([None, "--prompt", "a dog"], "Prompts need a text encoder"),
        ([None, "--sampler", "eulr"], r"--sampler eulr is not known\. Pick one of: euler"),
        ([None, "--scheduler", "smple"], "--scheduler smple is not known"),
    ],
)
def test_wrong_options_are_refused(file, arguments, words):
    arguments = [argument or file("t2v", "int8") for argument in arguments]
    with pytest.raises(CompareError, match=words):
        run(file("t2v", "bf16"), *arguments)


def test_what_is_no_diffusion_model_is_refused(file, demo_models):
    with pytest.raises(CompareError, match=r"x2v_demo_vae\.safetensors: ComfyUI does not recognise"):
        run(file("t2v", "bf16"), demo_models / "vae" / "x2v_demo_vae.safetensors", *SMALL)
