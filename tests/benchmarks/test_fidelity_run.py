"""The whole comparison on the demo's model, and what it says when something is missing."""

import argparse
import dataclasses
import importlib
import json
import statistics
import threading
import traceback
from collections import Counter
from functools import partial

import pytest

from x2v_quant.benchmarks.fidelity import command
from x2v_quant.benchmarks.fidelity.contestants import BASELINE, Contestant
from x2v_quant.benchmarks.fidelity.errors import FidelityError
from x2v_quant.benchmarks.fidelity.table import TIMES
from x2v_quant.benchmarks.fidelity.wide_layer import Width
from x2v_quant.demo import recipe

INT8 = Contestant("int8", "ours", "int8-channel", "int8-channel on reference", "int8-reference")
TEXT_TOO = dataclasses.replace(INT8, name="int8, T5 int8", text="int8")
SMOOTHED = Contestant("int8 smoothed", "ours", "int8-channel-smooth", "", "int8-reference")
WRONG = dataclasses.replace(INT8, name="wrong", stored="int8-channel on another")


@pytest.fixture
def run(monkeypatch):
    """The module, with its workers in this process: what they do is tested, not how long an interpreter starts."""
    from x2v_quant.benchmarks.fidelity import run

    def call(module, *arguments):
        try:
            importlib.import_module(f"{run.PACKAGE}.{module}").main(*arguments)
        except Exception:
            return traceback.format_exc().splitlines()[-1]
        return None

    monkeypatch.setattr(run, "_python", call)
    monkeypatch.setattr(run, "contestants", lambda *_: [BASELINE, INT8, TEXT_TOO, SMOOTHED, WRONG])
    monkeypatch.setattr(run.wide, "measure", partial(run.wide.measure, widths=[Width("narrow", 512)]))
    monkeypatch.setattr(recipe, "STEPS", 4)
    return run


@pytest.mark.slow
def test_everyone_is_measured_against_the_baseline(run, demo_models):
    report, frames = run.report(1, models=demo_models)
    assert json.loads(json.dumps(report)) == report
    exact, int8, both, smoothed, wrong = report["contestants"]
    assert [row["name"] for row in report["wide"]] == [INT8.name, SMOOTHED.name, WRONG.name]
    assert exact["latent_error"] == exact["text_error"] == 0 and exact["psnr"] == 100
    assert len(exact["layers"]) == 40
    assert {layer["stored"] for layer in int8["layers"].values()} == {INT8.stored}
    assert all(30 < layer["weight_snr"] < 60 and 10 < layer["output_snr"] < 60 for layer in int8["layers"].values())
    assert 0 < int8["latent_error"] < 0.2 and 15 < int8["psnr"] < 100 and 0.5 < int8["ssim"] < 1
    assert int8["compute"] == exact["compute"]
    assert int8["text_error"] == 0 < both["text_error"] < 0.1
    assert both["latent_error"] not in (0, int8["latent_error"])
    assert int8["file_mb"] < exact["file_mb"]
    # which pays on the inputs that were recorded, for nearly every layer
    kept = Counter(layer["stored"] for layer in smoothed["layers"].values())
    assert kept.keys() <= {"int8-channel-smooth on reference", INT8.stored}
    assert kept["int8-channel-smooth on reference"] >= 36
    gains = [layer["output_snr"] - int8["layers"][name]["output_snr"] for name, layer in smoothed["layers"].items()]
    print(f"smoothing: {min(gains):.2f} to {max(gains):.2f} dB, median {statistics.median(gains):.2f}")
    assert statistics.median(gains) > 0.5
    assert smoothed["latent_error"] < int8["latent_error"]
    for row in (exact, int8, both, smoothed):
        assert row["error"] is None and row["load_s"] > 0 and row["step_ms"] > 0
        assert all(0 <= share <= 1 for share in row["accuracy"].values()) and row["accuracy_held_out"] is None
    assert "is int8-channel on reference instead of int8-channel on another" in wrong["error"]
    assert not command.ok(report)
    assert set(frames.rows) == {BASELINE.name, INT8.name, TEXT_TOO.name, SMOOTHED.name}
    assert {"baseline", "cases", "steps", "cfg", "shift", "sampler"} <= set(report["settings"])


def test_a_part_of_a_name_is_enough_and_nobody_is_an_error(run, demo_models, tmp_path):
    one = run.Run(tmp_path, demo_models, 1, None)
    assert one._rows(["T5"]) == [BASELINE, TEXT_TOO]
    assert one._rows([]) == [BASELINE, INT8, TEXT_TOO, SMOOTHED, WRONG]
    with pytest.raises(FidelityError, match=r"'int3'.*int8, T5 int8"):
        one._rows(["int3"])


def test_jobs_side_by_side_come_in_order_after_the_baseline(run, demo_models, tmp_path, monkeypatch):
    one = run.Run(tmp_path, demo_models, 1, None, jobs=2)
    together, done = threading.Barrier(2, timeout=20), []

    def measure(row):
        if row != BASELINE:
            assert done[0] == BASELINE
            together.wait()
        done.append(row)
        return {"name": row.name}, None

    monkeypatch.setattr(one, "_measure", measure)
    rows = [BASELINE, INT8, TEXT_TOO, SMOOTHED, WRONG]
    assert [result["name"] for result, _ in one._measured(rows)] == [row.name for row in rows]


@pytest.mark.slow
def test_side_by_side_nobody_has_times(run, demo_models, monkeypatch):
    monkeypatch.setattr(run, "contestants", lambda *_: [BASELINE])
    report, _ = run.report(1, models=demo_models, jobs=2)
    (row,) = report["contestants"]
    assert row["error"] is None and [row[name] for name in TIMES] == [None, None, None]
    assert "step ms" not in "\n".join(command.lines(report))


def test_a_folder_without_the_demos_files_is_named(run, tmp_path):
    with pytest.raises(FidelityError, match=r"x2v_demo_t2v_bf16\.safetensors"):
        run.report(1, models=tmp_path)


def test_a_worker_that_ends_badly_leaves_its_last_words():
    from x2v_quant.benchmarks.fidelity import run

    assert "No module named x2v_quant.benchmarks.fidelity.nobody" in run._python("nobody")


@pytest.mark.parametrize(
    "given,words",
    [
        (["--cases", "0"], "--cases 0"),
        (["--jobs", "0"], "--jobs 0"),
        (["--gguf", "nowhere"], "nowhere is not the folder of ComfyUI-GGUF"),
    ],
)
def test_a_wrong_option_is_said_before_anything_runs(given, words):
    pytest.importorskip("matplotlib")
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    with pytest.raises(FidelityError, match=words):
        command.run(parser.parse_args(given))


def test_the_command_line_that_measures_it_again():
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    options = parser.parse_args(["--only", "int8", "T5 fp8", "--gguf", "somewhere/ComfyUI-GGUF", "--jobs", "2"])
    words = ["--cases 36", "--only int8 'T5 fp8'", "--gguf ComfyUI-GGUF", "--jobs 2"]
    assert command._options(options) == words
