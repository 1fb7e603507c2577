"""What `x2v-quant doctor` and the Kernel Report node tell of a machine."""

import json

import pytest

from x2v_quant import cli
from x2v_quant.formats import FORMATS
from x2v_quant.kernels import LIBRARIES
from x2v_quant.kernels.machine import Machine
from x2v_quant.reports.machine import lines, machine_report

BARE = Machine("cuda", "RTX 4090", (8, 9), libraries=frozenset())
WINDOWS = Machine("cuda", "RTX 5090", (12, 0), system="Windows", libraries=frozenset())
FULL = Machine("cuda", "H200", (9, 0), libraries=frozenset(LIBRARIES))


def section(machine, title):
    """The lines below a title, up to the next one."""
    found = lines(machine_report(machine))
    start = found.index(f"{title}:") + 1
    end = next((i for i in range(start, len(found)) if not found[i].startswith("- ")), len(found))
    return found[start:end]


def test_every_format_and_library_has_its_section():
    report = machine_report(BARE)
    assert set(report["kernels"]) == {name for name, row in FORMATS.items() if row.family == name}
    assert set(report["libraries"]) == set(LIBRARIES)
    assert lines(report)[0].startswith("RTX 4090 (compute capability 8.9), Linux, torch 2.")


def test_every_line_is_one_line_without_indentation():
    for machine in (BARE, WINDOWS, FULL):
        assert all(line == line.strip() and "\n" not in line for line in lines(machine_report(machine)))


@pytest.mark.parametrize(
    "machine,title,line",
    [
        (BARE, "fp8-channel", "- torch: yes"),
        (
            BARE,
            "fp8-channel",
            "- sgl: no, needs sgl-kernel, which is not installed (pip install --no-deps",
        ),
        (BARE, "fp8-block128", "- deepgemm: no, needs compute capability 9.0 or newer"),
        (BARE, "mxfp8", "- comfy-kitchen: no, needs compute capability 10.0 or newer"),
        (WINDOWS, "fp8-channel", "- vllm: no, exists for Linux only, this is Windows"),
        (WINDOWS, "int8-channel", "- triton: no, needs triton, which is not installed (pip install triton-windows)"),
        (FULL, "int4-g128", "- marlin: yes"),
        (FULL, "fp8-block128", "- deepgemm: yes"),
        (FULL, "fp8-channel", "- q8f: no, has no code for compute capabilities above 8.9"),
    ],
)
def test_a_kernel_has_yes_or_why_not(machine, title, line):
    assert any(found.startswith(line) for found in section(machine, title)), section(machine, title)


@pytest.mark.parametrize(
    "machine,line",
    [
        (BARE, "- vllm: needs vllm, which is not installed (pip install --no-deps vllm"),
        (WINDOWS, "- triton: needs triton, which is not installed (pip install triton-windows)"),
        (FULL, "- deep-gemm: found"),
    ],
)
def test_a_library_has_its_line(machine, line):
    name, rest = line.removeprefix("- ").split(":", 1)
    version = LIBRARIES[name].version()
    expected = f"- {name}{f' {version}' if version else ''}:{rest}"
    assert any(found.startswith(expected) for found in section(machine, "libraries")), section(machine, "libraries")


def test_a_package_that_serves_is_named_once():
    served = [name for name, row in machine_report(FULL)["libraries"].items() if row["problem"] is None]
    assert len({LIBRARIES[name].packages for name in served}) == len(served)


def test_the_command(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["libraries"]["comfy-kitchen"]["version"]
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == lines(report)
