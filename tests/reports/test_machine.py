"""What `x2v-quant doctor` and the Kernel Report node tell of a machine."""

import json

import pytest

from x2v_quant import cli
from x2v_quant.formats import FORMATS
from x2v_quant.kernels import LIBRARIES
from x2v_quant.kernels.machine import Machine
from x2v_quant.reports.machine import lines, machine_report, summary

BARE = Machine("cuda", "RTX 4090", (8, 9), libraries=frozenset())
WINDOWS = Machine("cuda", "RTX 5090", (12, 0), system="Windows", libraries=frozenset())
RTX3060 = Machine("cuda", "RTX 3060", (8, 6), libraries=frozenset())
GTX1080 = Machine("cuda", "GTX 1080", (6, 1), libraries=frozenset())
AMD = Machine("cuda", "Radeon RX 7900", libraries=frozenset())
OLD_CPU = Machine("cpu", "CPU", libraries=frozenset())
WINDOWS_40 = Machine("cuda", "RTX 4070", (8, 9), system="Windows", libraries=frozenset())
VNNI_CPU = Machine("cpu", "CPU", vnni=True, libraries=frozenset())
MAC = Machine("mps", "mps", system="Darwin", libraries=frozenset())
FULL = Machine("cuda", "H200", (9, 0), libraries=frozenset(LIBRARIES))
BLOCKS = "Nothing to install, except for fp8-block128 files:"
PORTABLE_TRITON = (
    r"in the portable build python_embeded\python.exe -m pip install triton-windows, else pip install triton-windows"
)


def section(machine, title):
    """The lines below the line that begins with a title, up to the next one."""
    found = lines(machine_report(machine))
    start = next(i for i, line in enumerate(found) if line.startswith(title)) + 1
    end = next((i for i in range(start, len(found)) if not found[i].startswith("- ")), len(found))
    return found[start:end]


def test_every_format_and_library_has_its_section():
    report = machine_report(BARE)
    assert set(report["kernels"]) == set(report["formats"]) == {n for n, row in FORMATS.items() if row.family == n}
    assert set(report["libraries"]) == set(LIBRARIES)
    assert any(line.startswith("RTX 4090 (compute capability 8.9), Linux, torch 2.") for line in lines(report))


@pytest.mark.parametrize(
    "machine,words",
    [
        (BARE, [f"int8 fast, fp8 fast, int4 saves memory only. {BLOCKS} pip install triton."]),
        (WINDOWS_40, [f"int8 fast, fp8 fast, int4 saves memory only. {BLOCKS} {PORTABLE_TRITON}."]),
        (
            WINDOWS,
            [
                "int8 fast, fp8 fast, int4 saves memory only. Nothing to install, except for fp8-block128, mxfp4 and "
                f"mxfp6 files: {PORTABLE_TRITON}; for mxfp8 and nvfp4 files: "
                r"in the portable build python_embeded\python.exe -m pip install comfy-kitchen, else pip install "
                "comfy-kitchen.",
            ],
        ),
        (FULL, ["int8 fast, fp8 fast, int4 saves memory only. Nothing to install."]),
        (
            RTX3060,
            [
                "int8 fast, fp8 saves memory only, int4 saves memory only. Nothing to install.",
                'Pick int8 files on this machine. For fp8 files, switch "transcode at load" on in Quantization Scheme.',
            ],
        ),
        (
            GTX1080,
            [
                "int8 saves memory only, fp8 saves memory only, int4 saves memory only. Nothing to install.",
                "Why int8 is not fast: needs an RTX 20 or newer.",
            ],
        ),
        (
            AMD,
            [
                "int8 should be fast (not tested on AMD), fp8 saves memory only, int4 saves memory only. Nothing to "
                "install.",
                'Pick int8 files on this machine. For fp8 files, switch "transcode at load" on in Quantization Scheme.',
            ],
        ),
        (
            OLD_CPU,
            [
                "int8 saves memory only, fp8 saves memory only, int4 saves memory only. Nothing to install.",
                "Why int8 is not fast: this CPU has no int8 dot-product instructions (VNNI), int8 would be slower than "
                "float.",
            ],
        ),
    ],
    ids=["rtx-40", "windows", "windows-rtx-50", "every-library", "rtx-30", "gtx-10", "amd", "old-cpu"],
)
def test_it_begins_with_what_is_fast(machine, words):
    report = machine_report(machine)
    assert summary(report) == words
    assert lines(report)[: len(words)] == words


def test_every_line_is_one_line_without_indentation():
    for machine in (BARE, WINDOWS, FULL, RTX3060, OLD_CPU):
        assert all(line == line.strip() and "\n" not in line for line in lines(machine_report(machine)))


@pytest.mark.parametrize(
    "machine,title,line",
    [
        (BARE, "fp8-channel: fast", "- torch-rowwise: yes, fast"),
        (BARE, "fp8-channel:", "- sgl: optional, needs sgl-kernel"),
        (BARE, "int8-channel:", "- triton: optional, needs triton"),
        (BARE, "Not here (needs compute capability 10.0 or newer", "- mxfp8: comfy-kitchen"),
        (BARE, "every format:", "- dequant: yes, saves memory only"),
        (BARE, "every format:", "- reference: yes, slow, for tests"),
        (BARE, "Not here (needs compute capability 9.0 or newer", "- fp8-block128: deepgemm, sgl, vllm, torch"),
        (WINDOWS_40, "fp8-channel:", "- q8f: no, q8-kernels is not for Windows"),
        (WINDOWS, "Not here (exists for Linux only, this is Windows):", "- fp8-channel: sgl, vllm"),
        (
            WINDOWS,
            f"fp8-block128: saves memory only. To make it fast: {PORTABLE_TRITON}",
            f"- triton: no, needs triton, which is not installed ({PORTABLE_TRITON})",
        ),
        (FULL, "int4-g128:", "- marlin: yes, saves memory only"),
        (FULL, "fp8-block128: fast", "- deepgemm: yes, fast"),
        (FULL, "Not here (has no code for compute capabilities above 8.9", "- fp8-channel: q8f"),
        (AMD, "int8-channel: should be fast (not tested on AMD)", "- torch: yes, should be fast (not tested on AMD)"),
        (AMD, "every format:", "- dequant: yes, saves memory only"),
        (OLD_CPU, "Not here (needs a CUDA GPU", "- int4-g128: marlin, triton"),
    ],
)
def test_a_kernel_has_yes_or_why_not(machine, title, line):
    assert any(found.startswith(line) for found in section(machine, title)), section(machine, title)


def test_a_common_cause_is_said_once():
    text = "\n".join(lines(machine_report(OLD_CPU)))
    assert text.count("needs a CUDA GPU") == 1


@pytest.mark.parametrize(
    "machine,line",
    [
        (BARE, "- vllm: optional, pip install --no-deps vllm"),
        (WINDOWS, f"- triton: needs triton, which is not installed ({PORTABLE_TRITON})"),
        (WINDOWS, "- deep-gemm: not for Windows"),
        (MAC, "- triton: not for macOS"),
        (VNNI_CPU, "- vllm: of no use on this machine"),
        (VNNI_CPU, "- torchao: optional, pip install torchao"),
        (RTX3060, "- q8-kernels: of no use on this machine"),
        (FULL, "- deep-gemm: found"),
    ],
)
def test_a_library_has_its_line(machine, line):
    name, rest = line.removeprefix("- ").split(":", 1)
    version = LIBRARIES[name].version()
    expected = f"- {name}{f' {version}' if version else ''}:{rest}"
    assert any(found.startswith(expected) for found in section(machine, "libraries:")), section(machine, "libraries:")


@pytest.mark.parametrize("machine", [BARE, WINDOWS, WINDOWS_40, RTX3060, GTX1080, AMD, OLD_CPU, VNNI_CPU, MAC], ids=str)
def test_no_kernel_is_optional_for_a_library_that_does_not_exist_here(machine):
    libraries = machine_report(machine)["libraries"]
    for line in lines(machine_report(machine)):
        _, needs, library = line.partition(": optional, needs ")
        assert not needs or libraries[library]["install"], line


def test_a_package_that_serves_is_named_once():
    served = [name for name, row in machine_report(FULL)["libraries"].items() if row["problem"] is None]
    assert len({LIBRARIES[name].packages for name in served}) == len(served)


def test_the_command(capsys):
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["libraries"]["comfy-kitchen"]["version"]
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().out.splitlines() == lines(report)
