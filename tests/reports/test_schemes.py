"""The table of schemes as a user reads it."""

import json
from pathlib import Path

import pytest
from older_comfyui import core_rotates_int8

from x2v_quant import cli
from x2v_quant.formats import FORMATS
from x2v_quant.kernels import FAST, MEMORY, TESTS, running
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.reports import schemes as scheme_table
from x2v_quant.schemes import SCHEMES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows():
    return {row["scheme"]: row for row in scheme_table.table()["schemes"]}


def test_every_scheme_has_its_row(rows):
    assert list(rows) == [row.name for row in SCHEMES]


@pytest.mark.parametrize(
    "scheme,words",
    [
        ("fp8-vllm", "vllm"),
        ("fp8-sgl", "sgl-kernel"),
        ("int8-q8f", "q8-kernels, compute capability 8.9"),
        ("fp8-b128-deepgemm", "deep-gemm, compute capability 9.0"),
        ("int8-triton", "triton, compute capability 8.0 or newer"),
        ("fp8-torch", "compute capability 8.9 or newer"),
        ("mxfp4", "triton 3.6 or newer, compute capability 10.0 or newer"),
        ("dequant", ""),
    ],
)
def test_what_a_scheme_needs(rows, scheme, words):
    assert words in "; ".join(rows[scheme]["needs"])


def test_a_scheme_whose_own_kernel_is_not_here_names_the_one_that_computes_it(rows, best):
    for name, row in rows.items():
        if row["format"] in FORMATS:
            own = row["reason"] is None
            named = running(row["kernel"], row["format"], describe(default_device())) if own else best(row["format"])
            assert row["runs_by"] == named.name, name
            assert row["good_for"] in (FAST, MEMORY, TESTS)
    assert rows["auto"]["runs_by"] is None


def test_the_command_says_what_runs_here(capsys):
    assert cli.main(["schemes"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("Leave the scheme on auto: ")
    groups = {title: lines.split("\n") for title, _, lines in (group.partition(":\n") for group in text.split("\n\n"))}
    assert "- fp8-dequant (fp8-channel), runs here by: dequant" in groups["saves memory only"]
    assert "- reference (any format), runs here by: reference" in groups["slow, for tests"]
    (here,) = (lines for title, lines in groups.items() if "- mxfp4 (mxfp4), runs here by: dequant" in lines)
    assert "- mxfp6-mxfp8 (mxfp6), runs here by: dequant" in here
    assert cli.main(["schemes", "--json"]) == 0
    assert {row["scheme"] for row in json.loads(capsys.readouterr().out)["schemes"]} == {row.name for row in SCHEMES}


@core_rotates_int8
def test_the_page_shows_the_table():
    text = (ROOT / "docs" / "formats-and-schemes.md").read_text(encoding="utf-8")
    shown = text.split("<!-- schemes:begin -->")[1].split("<!-- schemes:end -->")[0].strip()
    assert shown == scheme_table.markdown(scheme_table.table()["schemes"])


def test_on_amd_nothing_is_called_fast():
    amd = Machine("cuda", "Radeon RX 7900", libraries=frozenset())
    text = "\n".join(scheme_table.lines(scheme_table.table(amd)))
    assert "should be fast (not tested on AMD):\n- " in text
    assert "\nfast:" not in text
