"""What the node's lists offer on which machine."""

import importlib
import sys
from dataclasses import replace

import pytest
import torch

from x2v_quant.kernels import why_not
from x2v_quant.kernels.machine import Machine, describe
from x2v_quant.schemes import AUTO, CLIP, DIT, EVERYWHERE, SCHEMES, T5, names, resolve
from x2v_quant.schemes.offered import offered

FRESH = frozenset({"comfy-kitchen"})  # what a new ComfyUI on Windows has
RTX2080, RTX3060, RTX4090, RTX5090 = (
    Machine("cuda", name, capability, system="Windows", libraries=FRESH)
    for name, capability in (("RTX 2080", (7, 5)), ("RTX 3060", (8, 6)), ("RTX 4090", (8, 9)), ("RTX 5090", (12, 0)))
)
NO_INT8_CPU = Machine("cpu", "CPU (x86_64)", libraries=frozenset())
MACHINES = (RTX2080, RTX3060, RTX4090, RTX5090, NO_INT8_CPU, Machine("mps", "mps", libraries=frozenset()))
every_machine = pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
SLOW = ("dequant", "reference")
INT8 = ("int8-torch", "int8-comfy-kitchen", "int8-convrot", "int8-convrot-torch")
EVERYWHERE_SLOW = [row.name for row in SCHEMES if row.kernel in SLOW]


def fast(component, machine):
    """Without "auto" and the slow ones."""
    return [name for name in offered(component, machine) if name != AUTO and resolve(name).kernel not in SLOW]


@pytest.mark.parametrize(
    "machine,expected",
    [
        (RTX3060, [*INT8, "w4a8", "w4a8-torch", "convrot-w4a4", "convrot-w4a4-torch"]),
        (
            RTX4090,
            [
                *("fp8-torchao", "fp8-pertensor", "fp8-torch"),
                *(*INT8, "w4a8", "w4a8-torch", "convrot-w4a4", "convrot-w4a4-torch"),
            ],
        ),
        (NO_INT8_CPU, []),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_only_what_runs_on_the_machine(machine, expected):
    assert fast(DIT, machine) == expected


def test_block_formats_are_for_blackwell():
    """mxfp4 and mxfp6 with Triton."""
    assert {"mxfp8", "nvfp4"} <= set(offered(DIT, RTX5090))
    assert not {"mxfp8", "nvfp4"} & set(offered(DIT, RTX4090))
    with_triton = FRESH | {"triton 3.6 or newer"}
    for machine, there in ((RTX4090, False), (RTX5090, True)):
        assert {"mxfp4", "mxfp6-mxfp8"}.issubset(offered(DIT, replace(machine, libraries=with_triton))) == there
    assert not {"mxfp4", "mxfp6-mxfp8"} & set(offered(DIT, RTX5090))


@every_machine
@pytest.mark.parametrize("component", EVERYWHERE)
def test_auto_is_first_and_the_slow_ones_are_last(machine, component):
    """Those run on every machine."""
    found = offered(component, machine)
    assert found[0] == AUTO
    assert list(found[-len(EVERYWHERE_SLOW) :]) == EVERYWHERE_SLOW
    assert set(found) <= set(names(component))


@every_machine
def test_each_is_one_that_a_plan_would_run(machine):
    for name in fast(DIT, machine):
        row = resolve(name)
        assert why_not(row.kernel, row.format, machine) is None, name


def test_what_a_library_brings_is_offered_for_the_models_that_lightx2v_has_it_for():
    everything = Machine("cuda", "H200", (9, 0), libraries=frozenset({"vllm", "sgl-kernel", "deepgemm", "marlin"}))
    found = offered(DIT, everything)
    assert {"fp8-vllm", "int8-sgl"} <= set(found)
    assert "int8-sgl" in offered(T5, everything) and "int8-sgl" not in offered(CLIP, everything)


def test_an_installed_library_counts_and_is_not_imported(tmp_path, monkeypatch):
    """Nor does it matter that it is broken: that shows when the model loads, and the next kernel is taken."""
    for module in ("vllm", "q8_kernels_cuda"):
        (tmp_path / f"{module}.py").write_text('raise RuntimeError("imported")')
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    machine = Machine("cuda", "RTX 4090 with libraries", (8, 9), live=torch.device("cuda"))
    assert {"fp8-vllm", "int8-vllm", "fp8-q8f", "int8-q8f"} <= set(offered(DIT, machine))
    assert not {"vllm", "q8_kernels_cuda"} & set(sys.modules)


def test_what_comfyui_brings_is_offered_only_if_it_works_here():
    """Older ones have no int8 kernels."""
    cpu = describe(torch.device("cpu"))
    assert ("int8-comfyui" in offered(DIT, cpu)) == (why_not("comfyui", "int8-channel", cpu) is None)


def test_asking_again_takes_no_time():
    assert offered(DIT, RTX3060) is offered(DIT, RTX3060)
