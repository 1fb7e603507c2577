"""Scores, promises, the table, the pictures, and that docs/figures.md shows what is kept."""

import json

import pytest
import torch

from x2v_quant.benchmarks.fidelity import promises, scores, section, table
from x2v_quant.benchmarks.fidelity.cases import pick
from x2v_quant.benchmarks.fidelity.contestants import BASELINE
from x2v_quant.benchmarks.fidelity.wide_layer import OUTLIERS
from x2v_quant.demo.scenes import render

CASES = pick(6)
LAYERS = {
    "blocks.0.ffn.0": {"stored": "", "weight_signal": 1.0, "weight_noise": 0.01, "weight_snr": 20, "output_snr": 19},
    "blocks.0.ffn.2": {"stored": "", "weight_signal": 3.0, "weight_noise": 0.03, "weight_snr": 20, "output_snr": 25},
    "blocks.1.ffn.0": {"stored": "", "weight_signal": 6.0, "weight_noise": 0.06, "weight_snr": 20, "output_snr": 21},
}


def sampled(cases, latents=1.0):
    videos = torch.stack([render([case.scene], torch.Generator().manual_seed(case.seed))[0] for case in cases])
    return scores.Sampled(torch.full((len(cases), 16, 1, 2, 2), latents), videos, {"+a": torch.ones(1, 3, 4)})


def row(name, loader, format_name, right=1.0, **changes):
    shares = {"colour": 1.0, "shape": right, "direction": 1.0, "all": right}
    made = {"name": name, "loader": loader, "format": format_name, "error": None, "text": "bf16", "auto": True}
    made |= {"file_mb": 2.5, "bits": 8.25, "load_s": 0.05, "step_ms": 12.345, "peak_mb": 40.4, "layers": LAYERS}
    made |= {"compute": "float32", "latent_error": 0.0123, "text_error": 0.0, "psnr": 41.26, "ssim": 0.98765}
    return made | {"accuracy": shares, "accuracy_held_out": None} | changes


def report(rows):
    settings = {"baseline": BASELINE.name, "cases": 6, "held_out": 1, "recorded_rows": 256, "parameters": 1_250_000}
    settings |= {"steps": 20, "cfg": 3.0, "shift": 8.0, "sampler": "euler", "scheduler": "simple"}
    machine = {"machine": "CPU (x)", "cpu": {"name": "x", "flags": ["avx2"]}, "threads": 1, "versions": {"torch": "2"}}
    made = {"contestants": rows, "wide": WIDE, "promises": [], "missing": ["No GGUF."], "settings": settings, **machine}
    return made | {"date": "2026-01-01", "command": "x2v-quant fidelity --cases 6"}


WIDE = [{"name": "int8-channel (dequant)", "loader": "ours", "bits": 8.006, "output_snr": {"a": 41.06, "b": 22.0}}]
EXACT = {"latent_error": 0.0, "psnr": 100.0, "ssim": 1.0}
ROWS = [
    row(BASELINE.name, "core", "bf16", **EXACT),
    row("int8-channel (torch)", "ours", "int8-channel"),
    row("fp8-channel (torch)", "ours", "fp8-channel", 0.5, latent_error=0.03),
    {
        "name": "gone",
        "loader": "ours",
        "format": "x",
        "file_mb": 1.0,
        "bits": 4.5,
        "error": "a | b",
        "text": "bf16",
        "auto": True,
    },
]


def test_the_same_videos_are_exact_and_right():
    found = scores.score(CASES, sampled(CASES), sampled(CASES))
    assert found["latent_error"] == found["text_error"] == 0
    assert found["ssim"] == pytest.approx(1)
    assert found["accuracy"] == found["accuracy_held_out"] == dict.fromkeys(("colour", "shape", "direction", "all"), 1)


def test_other_videos_are_counted_aspect_by_aspect():
    other = sampled([*CASES[1:], CASES[0]], latents=1.1)
    found = scores.score(CASES, sampled(CASES), other)
    assert found["latent_error"] == pytest.approx(0.1)
    assert found["psnr"] < 20 and found["ssim"] < 0.9
    pairs = list(zip(CASES, [*CASES[1:], CASES[0]], strict=True))
    for aspect in scores.ASPECTS:
        same = [getattr(case.scene, aspect) == getattr(shown.scene, aspect) for case, shown in pairs]
        assert found["accuracy"][aspect] == pytest.approx(sum(same) / len(same))
    assert found["accuracy"]["all"] == 0


def test_no_held_out_case_no_share():
    assert scores.score(CASES[:1], sampled(CASES[:1]), sampled(CASES[:1]))["accuracy_held_out"] is None


def test_layers_in_a_few_figures():
    assert scores.summary(LAYERS) == {
        "weight_snr": pytest.approx(20),
        "weight_worst": 20,
        "output_median": 21,
        "output_worst": 19,
        "worst_layer": "blocks.0.ffn.0",
    }


@pytest.mark.parametrize(
    "int8,cases,expected",
    [([0.89, 0.9], 108, [1.0, True]), ([0.9, 0.87], 108, [3.0, False]), ([0.5], 99, None), ([0.95], 100, [0.0, True])],
)
def test_the_worst_kernel_of_a_format_keeps_its_promise_or_not(int8, cases, expected):
    rows = [row(BASELINE.name, "core", "bf16", 0.9)]
    rows += [row(f"int8-channel ({share})", "ours", "int8-channel", share) for share in int8]
    rows += [row("int8-channel, GPTQ (reference)", "ours", "int8-channel", 0.0)]
    found = promises.promises([*rows, row("int8-channel (core)", "core", "int8-channel", 0.0)], [], cases)
    lost = [promise for promise in found if promise["name"] == "int8-channel: points lost against ComfyUI bf16"]
    assert [[promise["got"], promise["met"]] for promise in lost] == (
        [[max(0.0, expected[0]), expected[1]]] if expected else []
    )


@pytest.mark.parametrize("share,expected", [(0.9, [10.0, True]), (0.88, [12.0, False])])
def test_the_unquantized_model_has_a_promise_to_keep_too(share, expected):
    (found,) = promises.promises([row(BASELINE.name, "core", "bf16", share)], [], 108)
    assert [found["got"], found["met"]] == expected


@pytest.mark.parametrize("error,met", [(0.0649, True), (0.0651, False)])
@pytest.mark.parametrize("decibels,kept", [(35.2, True), (34.9, False)])
def test_a_row_has_promises_of_latents_and_layers(error, met, decibels, kept):
    layers = {"blocks.0.ffn.0": LAYERS["blocks.0.ffn.0"] | {"output_snr": decibels}}
    rounded = row("w4a8, GPTQ (reference)", "ours", "w4a8", latent_error=error, layers=layers)
    found = promises.promises([row(BASELINE.name, "core", "bf16"), rounded], [], 108)
    mine = {promise["name"].partition(": ")[2]: promise for promise in found if promise["name"].startswith("w4a8")}
    assert mine["latents off, %"]["met"] is met and mine["latents off, %"]["bound"] == "at most"
    assert mine["median layer, dB"]["met"] is kept and mine["median layer, dB"]["bound"] == "at least"
    assert mine["points lost against ComfyUI bf16"]["met"]


@pytest.mark.parametrize("decibels,met", [(37.0, True), (36.9, False)])
def test_wide_layers_have_promises_without_any_video(decibels, met):
    wide = [{"name": "int8-convrot (reference)", "loader": "ours", "bits": 8.0, "output_snr": {OUTLIERS: decibels}}]
    (found,) = promises.promises([], wide, 1)
    assert [found["limit"], found["got"], found["met"]] == [37.0, decibels, met]


def test_the_table_has_a_row_each_and_says_what_failed():
    lines = table.table(report(ROWS)).splitlines()
    assert len({line.count("|") for line in lines if "a / b" not in line}) == 1
    assert "| exact | 1.0000 | 100% (100%, 100%, 100%)" in lines[2]
    assert lines[3] == (
        "| int8-channel (torch) | 2.50 | 8.25 | 20.0 | 21.0, 19.0 | 1.23% | 41.3 | 0.9877 "
        "| 100% (100%, 100%, 100%) |  | 50 | 40.4 | 12.3 |"
    )
    assert "failed: a / b" in lines[5]
    assert lines[5].count("|") == lines[2].count("|")


def test_a_run_side_by_side_has_no_columns_of_time():
    timeless = [entry if entry["error"] else entry | dict.fromkeys(table.TIMES) for entry in ROWS]
    lines = table.table(report(timeless)).splitlines()
    assert lines[0].endswith("| never trained, right |")
    assert len({line.count("|") for line in lines if "a / b" not in line}) == 1


def test_wide_layers_have_a_table_of_their_own():
    assert table.wide_table(report(ROWS)).splitlines() == [
        "| single layers | bits per weight | a | b |",
        "| --- | ---: | ---: | ---: |",
        "| int8-channel (dequant) | 8.01 | 41.1 | 22.0 |",
    ]
    assert "*Single layers*" in "".join(table.notes(report(ROWS)))
    nothing = report(ROWS) | {"wide": []}
    assert table.wide_table(nothing) == "" and "*Single layers*" not in "".join(table.notes(nothing))


def test_the_notes_say_what_was_promised_and_what_is_missing():
    promise = {"name": "int8: points", "bound": "at most", "limit": 2.0, "got": 3.5, "met": False}
    text = "\n".join(table.lines(report(ROWS) | {"promises": [promise]}))
    assert "int8: points: 3.5, promised at most 2, MISSED." in text
    assert "ComfyUI bf16, which computed in float32 here" in text
    assert "No GGUF." in text and "CPU" not in table.table(report(ROWS))


def test_the_same_report_gives_the_same_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    from x2v_quant.benchmarks.fidelity import plots
    from x2v_quant.benchmarks.fidelity.frames import Frames
    from x2v_quant.benchmarks.fidelity.sheet import shown

    frames = Frames(CASES)
    for entry in ROWS[:3]:
        frames.add(entry["name"], sampled(CASES).videos)
    assert shown(report(ROWS)) == [entry["name"] for entry in ROWS[:3]]
    found = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        paths = plots.save(report(ROWS), frames, folder, "fidelity")
        assert {path.stem.split("-")[1] for path in paths} == set(section.PICTURES)
        found.append([path.read_bytes() for path in paths])
    assert found[0] == found[1]
    assert all(picture.startswith(b"\x89PNG") and len(picture) > 10_000 for picture in found[0])


def test_the_plot_shows_quantized_rows_once_and_no_kernel_that_computes_the_same():
    pytest.importorskip("matplotlib")
    from x2v_quant.benchmarks.fidelity.bits_plot import shown

    rows = [
        row(BASELINE.name, "core", "bf16", bits=16.0, **EXACT),
        row("ComfyUI bf16 cast to fp8 at load", "core", "bf16", bits=16.0, latent_error=0.08),
        row("int8-channel (dequant)", "ours", "int8-channel", latent_error=0.01),
        row("int8-channel (reference)", "ours", "int8-channel", latent_error=0.03),
        row("int8-channel (torchao)", "ours", "int8-channel", latent_error=0.03001),
        row("int8-channel (reference), T5 int8", "ours", "int8-channel", text="int8"),
        row("int4-g128, GPTQ (dequant)", "ours", "int4-g128", bits=4.25, latent_error=0.1),
        row("int4-g128, GPTQ (reference)", "ours", "int4-g128", bits=4.25, latent_error=0.1),
        row("ComfyUI int8 (row scales)", "core", "int8_tensorwise", latent_error=0.03),
        ROWS[-1],
    ]
    assert shown(rows) == [
        ("int8-channel, weights only", 8.25, 0.01, True),
        ("int8-channel", 8.25, 0.03, True),
        ("int4-g128, GPTQ, weights only", 4.25, 0.1, True),
        ("ComfyUI int8 (row scales)", 8.25, 0.03, False),
    ]


@pytest.mark.parametrize(
    "wanted,expected",
    [
        ([], []),
        ([0.2, 0.8], [0.2, 0.8]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.1, 0.5, 0.5, 0.5], [0.1, 0.4, 0.5, 0.6]),
        ([0.0, 0.0], [0.0, 0.1]),
        ([1.0, 1.0], [0.9, 1.0]),
    ],
)
def test_names_keep_apart_and_near_their_points(wanted, expected):
    pytest.importorskip("matplotlib")
    from x2v_quant.benchmarks.fidelity.bits_plot import spread

    assert spread(wanted, 0.1) == pytest.approx(expected)


def test_the_section_shows_every_kept_result(tmp_path, monkeypatch):
    monkeypatch.setattr(section, "ROOT", tmp_path)
    monkeypatch.setattr(section, "RESULTS", tmp_path / "results")
    (tmp_path / "results").mkdir()
    for name in ("fidelity-a", "fidelity-b"):
        (tmp_path / "results" / f"{name}.json").write_text(json.dumps(report(ROWS)))
    text = section.fidelity_section()
    assert text.count(table.table(report(ROWS))) == 2
    assert "python dev.py exec x2v-quant fidelity --cases 6 --results results" in text
    assert "(../results/fidelity-b-videos.png)" in text


def test_the_page_shows_the_results_that_are_kept():
    text = (section.ROOT / "docs" / "figures.md").read_text(encoding="utf-8")
    shown = text.split("<!-- fidelity:begin -->")[1].split("<!-- fidelity:end -->")[0].strip()
    assert shown == section.fidelity_section()
    for file in section.RESULTS.glob("*.json"):
        assert all(file.with_name(f"{file.stem}-{name}.png").is_file() for name in section.PICTURES)
