"""x2v-quant bench: its arithmetic, its command, and that the pages show the figures that are kept."""

import json

import pytest

from x2v_quant import cli
from x2v_quant.benchmarks import pages, tables
from x2v_quant.benchmarks.case import missing, throughput
from x2v_quant.kernels.timing import listing
from x2v_quant.kernels.timing.case import Case, timed
from x2v_quant.kernels.timing.clock import Timing


def test_a_case_of_two_timings():
    ours, theirs = Timing(0.002, 0.001, 0.003, 5), Timing(0.006, 0.004, 0.008, 5)
    times = timed("linear", "layer", "torch bf16", ours, theirs)
    assert (times.name, times.part, times.ratio) == ("layer vs torch bf16", "linear", pytest.approx(3))
    assert times.spread == {"ours": [1.0, 3.0, 5], "theirs": [4.0, 8.0, 5]}
    rates = throughput("converting", "a to b", "copy", 12.0, ours, theirs)
    assert (rates.ours, rates.theirs, rates.ratio) == (6000, 2000, pytest.approx(3))
    assert rates.spread["ours"] == [4000, 12000, 5]


CASES = [
    Case("layer vs torch bf16", 10, 30, "ms", 2.0, "linear").as_dict(),
    Case("layer vs torch fp32", 12, 18, "ms", 2.0, "linear").as_dict(),
    missing("linear", "layer", "torchao", 10, "ms", "needs torchao").as_dict(),
    Case("other vs torch fp32", 1000, 1500, "ms", None, "linear").as_dict(),
    missing("linear", "other", "torch bf16", 1000, "ms", "would take 12 s").as_dict(),
    Case("file vs its size", 105, 100, "MB", 1.1, "loading").as_dict(),
]


def test_the_list_names_what_was_missed():
    lines = listing.listing(CASES).splitlines()
    assert lines[2] == "| layer vs torch bf16 | 10 ms | 30 ms | 3.00x | >= 2.00x met |"
    assert lines[3].endswith("| 1.50x | >= 2.00x MISSED |")
    assert lines[4] == "| layer vs torchao | 10 ms | - | - |  |"
    assert lines[-1] == "| file vs its size | 105 MB | 100 MB | 105% | <= 110% met |"


KERNEL_CASES = [
    Case("int8-channel torch 9x9x9 vs torch bf16", 10, 12, "ms", None, "kernels").as_dict(),
    Case("int8-channel triton 9x9x9 vs torch bf16", 10, 21, "ms", 1.6, "kernels").as_dict(),
    Case("int4-g128 dequant 9x9x9 vs torch bf16", 10, 5, "ms", None, "kernels").as_dict(),
]


@pytest.mark.parametrize(
    "cases,command,first",
    [
        (CASES, "bench", ["1 of 3 promises missed: layer vs torch fp32."]),
        (CASES[:1], "bench", ["Promises: 1 of 1 met."]),
        (CASES[4:5], "bench", ["Nothing is promised of these cases: the figures are for information."]),
        (
            KERNEL_CASES,
            "bench --kernels",
            [
                "Faster than 16 bits here: int8-channel (triton, 2.10x).",
                "Not faster here, saves memory only: int4-g128.",
                "Promises: 1 of 1 met.",
            ],
        ),
        (CASES, "bench --quick", ["Everything ran. The sizes are small, so the figures say nothing about real speed."]),
    ],
)
def test_the_verdict_comes_first(cases, command, first):
    assert listing.verdict({"cases": cases, "command": command}) == first


def test_a_table_has_a_column_per_peer():
    linear, loading = tables.comparisons(CASES)
    assert linear.splitlines() == [
        "| linear | ours | torch bf16 | torch fp32 |",
        "| --- | ---: | ---: | ---: |",
        "| layer | 10 to 12 ms | 3.00x (>= 2.00x met) | 1.50x (>= 2.00x MISSED) |",
        "| other | 1000 ms | - | 1.50x |",
    ]
    assert loading.splitlines()[2] == "| file | 105 MB | 105% (<= 110% met) |"


def test_what_cannot_be_had_has_no_figure():
    cold = missing("loading", "file, cold", "UNETLoader", None, "s", "no such call").as_dict()
    assert listing.listing([cold]).splitlines()[2] == "| file, cold vs UNETLoader | - | - | - |  |"
    warm = Case("file, warm vs UNETLoader", 1, 2, "s", part="loading").as_dict()
    assert tables.comparisons([warm, cold])[0].splitlines()[3] == "| file, cold | - | - |"
    assert tables.comparisons([cold]) == []


def test_what_was_not_measured_is_said_once():
    again = missing("linear", "third", "torch bf16", 1000, "ms", "would take 34 s").as_dict()
    assert listing.absences([*CASES, again]) == [
        "- torchao needs torchao (layer)",
        "- torch bf16 would take 12 s (other; 1 more)",
    ]


def test_without_a_comfyui_it_says_where_it_looked(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "--json"])
    assert stop.value.code == 1
    assert "set COMFYUI_PATH" in capsys.readouterr().err


def test_the_command_measures_and_keeps_what_it_measured(capsys, tmp_path):
    assert cli.main(["bench", "--part", "converting", "--quick", "--results", str(tmp_path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (file,) = tmp_path.iterdir()
    assert json.loads(file.read_text()) == report
    assert report["command"] == "x2v-quant bench --part converting --quick"
    assert {case["part"] for case in report["cases"]} == {"converting"}
    assert listing.about(report) in listing.lines(report)


def test_the_pages_show_the_figures_that_are_kept():
    again = "python -m x2v_quant.benchmarks.pages writes the tables again"
    for file, sections in pages.PAGES.items():
        text = file.read_text(encoding="utf-8")
        assert pages.updated(text, sections) == text, again
    assert pages.every_figure() == pages.EVERY_FIGURE.read_text(encoding="utf-8"), again


def test_a_page_is_written_from_the_results(monkeypatch, tmp_path):
    (tmp_path / "a.json").write_text(
        json.dumps(
            {
                "cases": CASES,
                "command": "x2v-quant bench --part linear",
                "machine": "NVIDIA H200 (compute capability 9.0)",
                "cpu": {"name": "EPYC", "flags": ["avx2"]},
                "threads": 4,
                "versions": {"torch": "2.11"},
                "date": "2026-01-02",
            }
        )
    )
    monkeypatch.setattr(pages, "RESULTS", tmp_path)
    monkeypatch.setattr(pages, "SECTIONS", {"bench": pages.bench_section})
    text = pages.updated("before\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nafter\n", ["bench"])
    assert text.startswith("before\n<!-- bench:begin -->\n**NVIDIA H200 (compute capability 9.0), EPYC with 4 threads")
    assert "python dev.py exec x2v-quant bench --part linear --results benchmarks/results\n" in text
    linear, loading = tables.comparisons(CASES)
    assert loading in text
    assert linear not in text
    page = pages.every_figure()
    assert linear in page
    assert loading in page
    assert "- torchao needs torchao (layer)" in page
    assert text.endswith("<!-- bench:end -->\nafter\n")
    assert "old" not in text
    with pytest.raises(ValueError, match="<!-- bench:begin -->"):
        pages.updated("no markers", ["bench"])
