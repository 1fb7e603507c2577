"""x2v-quant bench: its arithmetic, its report, and that README shows the figures that are kept."""

import json
from pathlib import Path

import pytest

from x2v_quant import cli
from x2v_quant.benchmarks import linear, run
from x2v_quant.benchmarks.case import Case

ROOT = Path(run.__file__).parents[1]


@pytest.mark.parametrize(
    "unit,ours,theirs,target,ratio,met",
    [
        ("ms", 10, 25, 2.0, 2.5, True),
        ("ms", 10, 15, 2.0, 1.5, False),
        ("s", 1, 1, None, 1.0, None),
        ("MB", 105, 100, 1.1, 1.05, True),
        ("MB", 120, 100, 1.1, 1.2, False),
    ],
)
def test_ratio_and_promise(unit, ours, theirs, target, ratio, met):
    case = Case("case", ours, theirs, unit, target)
    assert case.ratio == pytest.approx(ratio)
    assert case.met is met
    assert case.as_dict()["ratio"] == pytest.approx(ratio)


def test_linear_cases_are_measured(monkeypatch, best):
    monkeypatch.setattr(linear, "SHAPES", ((32, 64, 48),))
    cases = linear.cases(repeats=2)
    fast = best("int8-channel").activation != "float"
    assert {case.name.split(" vs ")[1] for case in cases} == ({"torch bf16", "torch fp32"} if fast else set())
    assert all(case.ours > 0 and case.theirs > 0 and case.unit == "ms" for case in cases)


def test_table_names_what_was_missed():
    cases = [
        Case("a", 1, 3, "ms", 2.0).as_dict(),
        Case("b", 2, 3, "ms", 2.0).as_dict(),
        Case("c", 1, 1, "MB").as_dict(),
    ]
    lines = run.table(cases).splitlines()
    assert lines[2] == "| a | 1 ms | 3 ms | 3.00 | >= 2.0 met |"
    assert "MISSED" in lines[3]
    assert lines[4].endswith("|  |")


def test_without_a_comfyui_it_says_where_it_looked(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "--json"])
    assert stop.value.code == 1
    assert "set COMFYUI_PATH" in capsys.readouterr().err


def test_readme_shows_the_figures_that_are_kept():
    report = json.loads((ROOT / "benchmarks" / "results" / "cpu-avx512-2-cores.json").read_text(encoding="utf-8"))
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = text.split("<!-- bench:begin -->")[1].split("<!-- bench:end -->")[0].strip()
    assert shown == "\n".join(run.lines(report))
