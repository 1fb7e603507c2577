"""The plan in words: what a user of a machine is told."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.kernels.machine import Machine
from x2v_quant.schemes import resolve
from x2v_quant.schemes.plan import Plan

NOTHING = frozenset()
RTX3060 = Machine("cuda", "RTX 3060", (8, 6), libraries=NOTHING)
RTX4090 = Machine("cuda", "RTX 4090", (8, 9), libraries=NOTHING)
GTX1080 = Machine("cuda", "GTX 1080", (6, 1), libraries=NOTHING)
CPU = Machine("cpu", "CPU", vnni=True, libraries=NOTHING)


def plan(machine, format_name, scheme="auto", shapes=((1536, 1536),)):
    result = Plan("model.safetensors", resolve(scheme), machine, torch.bfloat16)
    for i, shape in enumerate(shapes):
        result.assign(f"blocks.{i}", format_name, shape)
    return result


def test_a_plan_that_needs_no_excuse():
    assert plan(RTX4090, "fp8-channel", "fp8-torch").lines() == [
        "model.safetensors: scheme fp8-torch on RTX 4090 (compute capability 8.9), compute dtype bfloat16",
        "- 1 layer fp8-channel -> torch-rowwise: fp8 weights x fp8 activations (per-token), row-wise torch._scaled_mm",
        "- fp8 with float32 sums has half the rate of int8, and of fp8 with float16 sums, on RTX 4090",
    ]


def test_in_short_it_does_not_say_how_a_kernel_computes():
    assert plan(RTX3060, "fp8-channel").lines(short=True) == [
        "model.safetensors: scheme auto on RTX 3060 (compute capability 8.6)",
        "- 1 layer fp8-channel -> dequant",
        f"- tip: {plan(RTX3060, 'fp8-channel').advice()}",
    ]


def test_auto_names_what_would_have_come_first_and_what_to_install():
    lines = "\n".join(plan(RTX4090, "fp8-channel").lines())
    assert "fp8-channel -> torch-rowwise" in lines
    assert "- optional, sgl: needs sgl-kernel, which is not installed (pip install" in lines


def test_fp8_on_a_gpu_without_fp8_says_what_would_be_faster():
    lines = "\n".join(plan(RTX3060, "fp8-channel").lines())
    assert 'tip: switch "transcode at load" on in Quantization Scheme: the weights become int8-channel, which' in lines
    assert "not torch-rowwise: needs compute capability 8.9 or newer, this is RTX 3060" in lines


@pytest.mark.parametrize(
    "machine,format_name,scheme",
    [(RTX4090, "fp8-channel", "auto"), (GTX1080, "fp8-channel", "auto"), (RTX3060, "fp8-channel", "fp8-dequant")],
    ids=["fast", "nothing-better", "asked-for"],
)
def test_no_tip_where_there_is_nothing_to_gain(machine, format_name, scheme):
    assert plan(machine, format_name, scheme).advice() is None


def test_layers_that_do_not_fit_are_a_group_of_their_own():
    groups = plan(RTX4090, "int8-channel", shapes=((1536, 1536), (1536, 1536), (20, 1536))).summary()
    assert [(g["kernel"], g["layers"]) for g in groups] == [("torch", 2), ("dequant", 1)]
    assert "multiple of 8, this layer has 20" in groups[1]["passed_over"]["torch"]


def test_fallback_is_one_line_with_the_reason():
    line = plan(RTX3060, "int8-channel", "int8-vllm").fallback()
    assert line.startswith("int8-vllm falls back to torch for 1 of 1 layers: vllm needs vllm, which is not installed")
    assert plan(RTX3060, "int8-channel", "int8-torch").fallback() is None


def test_kernels_that_are_not_here_for_one_reason_share_a_line():
    lines = plan(CPU, "int8-channel").lines()
    assert "- not sgl, vllm, comfy-kitchen: needs a CUDA GPU, this is CPU" in lines


def test_what_was_asked_for_by_name_is_not_optional():
    lines = "\n".join(plan(RTX4090, "fp8-channel", "fp8-sgl").lines())
    assert "- not sgl: needs sgl-kernel" in lines


def test_the_report_ends_with_what_whoever_made_the_plan_notes():
    machine = Machine("cpu", "CPU", libraries=frozenset())
    plan = Plan("model.safetensors", resolve("auto"), machine, torch.float32)
    plan.assign("a", "int8-channel", (64, 64))
    plan.notes.append("1 of 1 layers are smoothed.")
    assert "- 1 of 1 layers are smoothed." in plan.lines()


@pytest.mark.parametrize("columns", range(1, 65))
@pytest.mark.parametrize("scheme", ["w4a8", "int8-convrot", "mxfp8", "nvfp4"])
def test_a_layer_that_the_schemes_format_does_not_take_stays_as_it_is(scheme, columns):
    """As transcoding would meet it: K of 20 has no group of w4a8 that divides it."""
    found = plan(CPU, "fp8-channel", scheme, shapes=[(64, columns)]).layers["blocks.0"].choice.format
    assert found == "fp8-channel" or FORMATS[found].fits((64, columns))
    multiple = {"w4a8": 16, "int8-convrot": 4, "mxfp8": 32, "nvfp4": 16}[scheme]
    assert (found != "fp8-channel") == (columns % multiple == 0)
