"""What is chosen on which machine, and the words for what is not."""

import pytest
import torch
from older_comfyui import core_rotates_int8

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, NoKernelError, choose, survey, why_not
from x2v_quant.kernels.machine import Machine, describe
from x2v_quant.kernels.order import LAST, ORDERS, ranking

NOTHING = frozenset()
CPU = Machine("cpu", "CPU (x86_64)", vnni=True, libraries=NOTHING)
OLD_CPU = Machine("cpu", "CPU (x86_64)", vnni=False, libraries=NOTHING)
RTX2080, RTX3060, RTX4090, RTX5090, H200 = (
    Machine("cuda", name, capability, libraries=NOTHING)
    for name, capability in (
        ("RTX 2080", (7, 5)),
        ("RTX 3060", (8, 6)),
        ("RTX 4090", (8, 9)),
        ("RTX 5090", (12, 0)),
        ("H200", (9, 0)),
    )
)
GTX1080 = Machine("cuda", "GTX 1080", (6, 1), libraries=NOTHING)
AMD = Machine("cuda", "AMD Radeon RX 7900", libraries=NOTHING)


@pytest.mark.parametrize(
    "machine,format_name,expected",
    [
        (CPU, "int8-channel", "torch"),
        (OLD_CPU, "int8-channel", "dequant"),
        (CPU, "fp8-channel", "dequant"),
        (GTX1080, "int8-channel", "dequant"),
        (RTX2080, "int8-channel", "torch"),
        (RTX3060, "int8-channel", "torch"),
        (RTX3060, "fp8-channel", "dequant"),
        (RTX4090, "fp8-channel", "torch-rowwise"),
        (RTX5090, "fp8-channel", "torch-rowwise"),
        (RTX5090, "int8-channel", "torch"),
        (H200, "fp8-channel", "torch-rowwise"),
        (AMD, "fp8-channel", "dequant"),
    ],
    ids=str,
)
def test_auto_takes_the_best_kernel(machine, format_name, expected):
    assert choose(format_name, machine, (1536, 1536)).kernel.name == expected


@pytest.mark.parametrize(
    "name,format_name,machine,shape,words",
    [
        ("torch", "fp8-channel", RTX3060, None, "needs compute capability 8.9 or newer, this is RTX 3060"),
        ("torch", "fp8-channel", CPU, None, "needs a CUDA GPU"),
        ("torch", "fp8-channel", AMD, None, "needs an NVIDIA GPU"),
        ("torch", "int8-channel", OLD_CPU, None, "no int8 dot-product instructions"),
        ("torch", "int8-channel", RTX4090, (20, 64), "out_features to be a multiple of 8, this layer has 20"),
        ("torch", "fp8-channel", RTX4090, (64, 72), "in_features to be a multiple of 16, this layer has 72"),
        ("lightx2v", "fp8-channel", H200, None, "is not part of this version"),
        ("torch", "int4-g128", H200, None, "not int4-g128"),
    ],
)
def test_a_kernel_passed_over_has_its_reason_in_words(name, format_name, machine, shape, words):
    assert words in why_not(name, format_name, machine, shape)


def test_preference_falls_back_with_the_reason():
    choice = choose("int8-channel", RTX3060, prefer="lightx2v")
    assert choice.kernel.name == "torch"
    assert choice.passed_over["lightx2v"] == "is not part of this version of x2v-quant"


def test_preference_is_taken_over_a_faster_kernel():
    assert choose("int8-channel", CPU, prefer="reference").kernel.name == "reference"


def test_strict_refuses_with_reason_and_remedy():
    with pytest.raises(NoKernelError, match=r"lightx2v is not part .* Switch strict off"):
        choose("int8-channel", H200, prefer="lightx2v", strict=True)


def test_strict_without_a_preference_is_no_restriction():
    assert choose("int8-channel", CPU, strict=True).kernel.name == "torch"


def test_a_layer_that_does_not_fit_goes_to_the_next_kernel():
    choice = choose("int8-channel", RTX4090, (20, 64))
    assert choice.kernel.name == "dequant"
    assert "multiple of 8" in choice.passed_over["torch"]


def test_survey_names_every_kernel_best_first():
    found = survey("fp8-channel", RTX4090)
    assert set(found) == {kernel.name for kernel in KERNELS if kernel.format in ("fp8-channel", "fp8-reduced")}
    ranked = [name for name in found if name in ranking("fp8-channel", RTX4090, None)]
    assert ranked == [name for name in ranking("fp8-channel", RTX4090, None) if name in found]
    assert found["torch-rowwise"] is found["torch-tensorwise"] is found["dequant"] is None


def test_unknown_format_has_no_kernel():
    with pytest.raises(NoKernelError, match="No kernel for fp7"):
        choose("fp7", CPU)


def test_this_machine_is_described_and_probed():
    machine = describe(torch.device("cpu"))
    assert machine.kind == "cpu"
    for kernel in KERNELS:
        reason = why_not(kernel.name, kernel.format, machine)
        assert reason is None or len(reason.split()) > 3


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[core_rotates_int8] if row.family == "int8-convrot" else []) for row in ORDERS],
    ids=lambda row: f"{row.family}-{row.first}",
)
def test_the_order_is_sound(row):
    """It names kernels that exist for the format, each row with its source; every machine finds a row."""
    computing = {kernel.name for kernel in KERNELS if FORMATS[kernel.format].family == row.family}
    assert set(row.kernels) <= computing
    assert len(row.source.split()) > 3
    assert not set(row.kernels) & set(LAST)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("machine", [CPU, RTX2080, RTX3060, RTX4090, RTX5090, H200, AMD], ids=str)
def test_every_format_has_a_kernel_on_every_machine(format_name, machine):
    """With no library at all, down to a shape that suits nobody."""
    for shape in ((1536, 1536), (20, 256)):
        assert choose(format_name, machine, shape).kernel.name
