"""A plan in one line: fast or not, and what to do about it."""

import pytest
import torch

from x2v_quant.formats import FORMATS, family
from x2v_quant.kernels import FAST, KERNELS, MEMORY, TESTS
from x2v_quant.kernels.machine import Machine
from x2v_quant.schemes import resolve
from x2v_quant.schemes.plan import Plan
from x2v_quant.schemes.verdict import verdict

NOTHING = frozenset()
RTX3060 = Machine("cuda", "RTX 3060", (8, 6), libraries=NOTHING)
WINDOWS = Machine("cuda", "RTX 4090", (8, 9), system="Windows", libraries=NOTHING)
AMD = Machine("cuda", "Radeon RX 7900", libraries=NOTHING)
GTX1080 = Machine("cuda", "GTX 1080", (6, 1), libraries=NOTHING)
CPU = Machine("cpu", "CPU", vnni=True, libraries=NOTHING)
OLD_CPU = Machine("cpu", "CPU", libraries=NOTHING)
SIZE, NARROW = (1536, 1536), (20, 1536)
LAST = "Nothing to install."
PORTABLE = r"To make it fast: in the portable build python_embeded\python.exe -m pip install triton-windows, else pip"
INT8 = 'Pick the int8 file, or switch "transcode at load" on in Quantization Scheme.'


def said(machine, formats, scheme="auto", transcode=False, shapes=(SIZE,), component="dit"):
    plan = Plan("model", resolve(scheme), machine, torch.bfloat16, transcode=transcode, component=component)
    for number, (name, shape) in enumerate((name, shape) for name in formats.split() for shape in shapes):
        plan.assign(f"blocks.{number}", name, shape)
    return verdict(plan)


@pytest.mark.parametrize(
    "machine,formats,words",
    [
        (WINDOWS, "int8-channel", f"int8, fast here. {LAST}"),
        (WINDOWS, "fp8-channel int8-channel", f"fp8 and int8, fast here. {LAST}"),
        (CPU, "int8-channel", f"int8, fast here. {LAST}"),
        (RTX3060, "fp8-channel", f"fp8, saves memory only on RTX 3060. {INT8}"),
        (WINDOWS, "fp8-block128", f"fp8, saves memory only on RTX 4090. {PORTABLE}"),
        (AMD, "int8-channel", f"int8, should be fast here (not tested on AMD). {LAST}"),
        (GTX1080, "int8-channel", f"int8, saves memory only on GTX 1080. {LAST} Reason: needs an RTX 20 or newer."),
        (GTX1080, "fp8-channel", f"fp8, saves memory only on GTX 1080. {LAST} Reason: needs an RTX 40 or newer."),
        (OLD_CPU, "int8-channel", f"int8, saves memory only on CPU. {LAST} Reason: this CPU has no int8 dot-product"),
        (WINDOWS, "int4-g128", f"int4, saves memory only on RTX 4090. {LAST} This format is small, not fast"),
    ],
    ids=[
        "fast",
        "two-formats",
        "cpu",
        "fp8-on-rtx-30",
        "a-library-helps",
        "amd",
        "gtx-int8",
        "gtx-fp8",
        "no-vnni",
        "int4",
    ],
)
def test_auto(machine, formats, words):
    assert said(machine, formats).startswith(words)


@pytest.mark.parametrize(
    "component,words",
    [("t5", "A text encoder runs only once per prompt. "), ("clip", "CLIP runs only once per picture. "), ("dit", "")],
)
def test_what_runs_once_is_told_from_what_runs_in_every_step(component, words):
    assert said(RTX3060, "fp8-tensor", component=component) == f"fp8, saves memory only on RTX 3060. {words}{INT8}"


@pytest.mark.parametrize("component", ["t5", "clip"])
def test_once_is_no_excuse_for_what_is_fast(component):
    assert said(WINDOWS, "fp8-tensor", component=component) == f"fp8, fast here. {LAST}"


def test_transcoded():
    assert said(RTX3060, "fp8-channel", transcode=True) == f"fp8 loaded as int8, fast here. {LAST}"


def test_some_layers():
    words = said(WINDOWS, "int8-channel", shapes=(SIZE, SIZE, NARROW))
    assert words == f"int8, fast here in 2 of 3 layers. {LAST}"
    words = said(AMD, "int8-channel", shapes=(SIZE, SIZE, NARROW))
    assert words == f"int8, should be fast here in 2 of 3 layers (not tested on AMD). {LAST}"


@pytest.mark.parametrize(
    "scheme,words",
    [
        ("int8-reference", "int8, slow: the scheme int8-reference is for tests. Set it to auto."),
        ("dequant", "int8, saves memory only on CPU. Set the scheme to auto, which should be fast here."),
    ],
)
def test_a_scheme_that_is_slower_than_auto(scheme, words):
    assert said(CPU, "int8-channel", scheme) == words


def test_a_model_without_quantized_layers():
    assert said(CPU, "") == "not quantized."


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: f"{kernel.name}-{kernel.format}-{kernel.requires.kind}")
def test_what_a_kernel_is_good_for(kernel):
    """By what it multiplies; the format alone is fast nowhere if all of its kernels multiply floats."""
    assert kernel.good_for in (FAST, MEMORY, TESTS)
    assert (kernel.good_for == MEMORY) == (kernel.activation == "float" and kernel.name != "reference")
    assert (kernel.good_for == TESTS) == (kernel.name in ("reference", "comfyui"))
    assert family(kernel.format) in FORMATS
