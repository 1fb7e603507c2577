"""Which row `auto` takes on the machines of users, by system, CUDA and Triton, and what it says of the others."""

from itertools import product

import pytest
import torch
from older_comfyui import core_rotates_int8

from x2v_quant.kernels import choose, why_not, winners
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.kernels.order import ranking
from x2v_quant.schemes import resolve
from x2v_quant.schemes.plan import Plan

GPUS = {
    "RTX 3060": (8, 6),
    "RTX 3090": (8, 6),
    "RTX 4090": (8, 9),
    "RTX 5090": (12, 0),
    "H100": (9, 0),
    "H200": (9, 0),
    "B200": (10, 0),
}
# core switches comfy-kitchen's CUDA backend off below CUDA 13: then it is as good as not there
LIBRARIES = {"cu128": (), "cu130": ("comfy-kitchen",)}
SHAPE = (5120, 5120)

KITCHEN, TRITON, INT_MM = "comfy-kitchen", "triton", "torch"
ROWWISE, TENSORWISE = "torch-rowwise", "torch-tensorwise"
# (CUDA, with Triton) -> the row for int8: on compute capability 9.0, elsewhere
INT8 = {
    ("cu128", False): (INT_MM, INT_MM),
    ("cu128", True): (TRITON, TRITON),
    ("cu130", False): (KITCHEN, KITCHEN),
    ("cu130", True): (TRITON, KITCHEN),
}
# (system, with Triton) -> the row for fp8: below 8.9, on 9.0, elsewhere
FP8 = {
    ("Linux", False): ("dequant", ROWWISE, ROWWISE),
    ("Linux", True): ("dequant", ROWWISE, ROWWISE),
    ("Windows", False): ("dequant", ROWWISE, TENSORWISE),
    ("Windows", True): ("dequant", ROWWISE, TRITON),
}


def machine(gpu, system="Linux", cuda="cu130", triton=True):
    libraries = frozenset((*LIBRARIES[cuda], *(("triton",) if triton else ())))
    return Machine("cuda", gpu, GPUS[gpu], system=system, libraries=libraries)


def expected(format_name, gpu, system, cuda, triton):
    hopper = GPUS[gpu] == (9, 0)
    if format_name == "fp8-channel":
        old, on_hopper, elsewhere = FP8[system, triton]
        return old if GPUS[gpu] < (8, 9) else on_hopper if hopper else elsewhere
    return INT8[cuda, triton][not hopper]


CASES = list(product(GPUS, ("Linux", "Windows"), LIBRARIES, (True, False)))
FORMATS = ["int8-channel", pytest.param("int8-convrot", marks=core_rotates_int8), "fp8-channel"]


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("gpu,system,cuda,triton", CASES)
def test_the_row_that_is_taken(format_name, gpu, system, cuda, triton):
    choice = choose(format_name, machine(gpu, system, cuda, triton), SHAPE)
    assert choice.kernel.name == expected(format_name, gpu, system, cuda, triton)


@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
@pytest.mark.parametrize("gpu,system,cuda,triton", CASES)
def test_the_report_says_why_the_rows_before_it_were_passed_over(format_name, gpu, system, cuda, triton):
    here = machine(gpu, system, cuda, triton)
    plan = Plan("model", resolve("auto"), here, torch.bfloat16)
    taken = plan.assign("blocks.0", format_name, SHAPE).choice.kernel.name
    order = ranking(format_name, here, SHAPE)
    before = order[: order.index(taken)]
    reasons = [line for line in plan.lines() if line.startswith(("- not ", "- optional, "))]
    for name in before:
        (line,) = [line for line in reasons if name in line.partition(":")[0].replace(",", "").split()]
        assert line.endswith(why_not(name, format_name, here, SHAPE, torch.bfloat16))
    assert bool(before) == bool(reasons)


@pytest.mark.parametrize("gpu", ["RTX 4090", "RTX 5090", "B200"])
def test_windows_is_told_where_rowwise_is(gpu):
    assert why_not(ROWWISE, "fp8-channel", machine(gpu, "Windows")) == "exists for Linux only, this is Windows"


@pytest.mark.parametrize("system,kernel", [("Linux", ROWWISE), ("Windows", TENSORWISE)])
def test_a_name_that_two_rows_share_takes_the_first_that_runs(system, kernel):
    """The scheme fp8-torch, strict: Triton, which comes between them, is not taken."""
    here = machine("RTX 4090", system)
    plan = Plan("model", resolve("fp8-torch"), here, torch.bfloat16, strict=True)
    assert plan.assign("blocks.0", "fp8-channel", SHAPE).choice.kernel.name == kernel
    assert plan.fallback() is None


def test_a_scheme_by_that_name_that_cannot_run_says_so():
    plan = Plan("model", resolve("fp8-torch"), machine("RTX 3060"), torch.bfloat16)
    plan.assign("blocks.0", "fp8-channel", SHAPE)
    assert plan.fallback().startswith("fp8-torch falls back to dequant for 1 of 1 layers: torch needs compute capab")


def test_a_winner_that_was_saved_when_the_rows_shared_a_name_is_dropped(tmp_path, monkeypatch):
    monkeypatch.setenv("X2V_QUANT_HOME", str(tmp_path))
    here = describe(default_device())
    winners.save(here, {("fp8-channel", SHAPE): "torch", ("int8-channel", SHAPE): "torch"})
    assert winners.winner("fp8-channel", here, SHAPE) is None
    assert winners.winner("int8-channel", here, SHAPE) == "torch"
    winners.save(here, {("fp8-channel", SHAPE): TENSORWISE})
    assert winners.winner("fp8-channel", here, SHAPE) == TENSORWISE
    winners._saved.cache_clear()
