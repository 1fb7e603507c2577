"""The report as text and as JSON."""

import json
import math

import pytest

from x2v_quant.comparing.report import Report
from x2v_quant.comparing.text import describe, layers_table, short, steps_table
from x2v_quant.comparing.verdict import verdict


@pytest.fixture
def report(layer):
    def make(steps=(0.1, 0.2), result=0.15, psnr=30.0, ssim=0.9, snrs=(40.0, 10.0, math.inf, -math.inf)):
        layers = tuple(layer(f"blocks.{n}.ffn.0", snr) for n, snr in enumerate(snrs))
        return Report(tuple(steps), result, psnr, ssim, layers, verdict(steps, result, psnr, ssim, layers))

    return make


def rows(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_steps_are_in_their_order(report):
    found = rows(steps_table(report(steps=(0.0, 0.5, math.nan))))
    assert found == [["1", "0"], ["2", "50.000%"], ["3", "not a number"]]


def test_the_worst_layer_comes_first(report):
    found = rows(layers_table(report()))
    assert [row[0] for row in found] == [f"blocks.{n}.ffn.0" for n in (3, 1, 0, 2)]
    assert [row[-1] for row in found] == ["not a number", "10.0 dB", "40.0 dB", "identical"]
    assert found[0][1:4] == ["8 x 8", "float32", "int8-channel on torch"]


@pytest.mark.parametrize(
    "figures,there",
    [
        ({}, ["result: latents 15.000% off", "PSNR of the decoded result: 30.0 dB", "SSIM of the decoded result: 0.9"]),
        ({"psnr": math.inf, "ssim": 1.0}, ["PSNR of the decoded result: identical"]),
        ({"result": 0.0}, ["result: latents 0 off"]),
    ],
)
def test_the_result(report, figures, there):
    text = describe(report(**figures))
    assert all(words in text for words in there)


def test_without_a_vae_nothing_is_said_of_pictures(report):
    text = describe(report(psnr=None, ssim=None))
    assert "PSNR" not in text and "SSIM" not in text


def test_lines_stand_below_the_verdict(report):
    found = report(snrs=(40.0, 10.0))
    words, lines, *_ = describe(found).split("\n\n")
    assert words == found.verdict.words
    assert lines == "blocks.1.ffn.0 = keep"


def test_a_node_shows_what_is_visible_what_to_do_and_the_first_lines(report):
    found = report(snrs=(10.0,) * 60).verdict
    visible, advice, lines = short(found).split("\n\n")
    assert found.words.startswith(f"{visible}\n{advice}\n")
    assert lines.splitlines() == [*found.lines[:5], "... 1 more: the output layers"]
    same = report(steps=(0.0,), result=0.0, snrs=(math.inf,)).verdict
    assert short(same) == same.words


def test_json_has_no_infinities(report):
    found = json.loads(json.dumps(report(steps=(0.1, math.nan)).as_dict(), allow_nan=False))
    assert found["steps"] == [0.1, None]
    by_layer = {row["layer"]: row for row in found["layers"]}
    assert [by_layer[f"blocks.{n}.ffn.0"]["identical"] for n in range(4)] == [False, False, True, False]
    assert by_layer["blocks.1.ffn.0"]["snr_db"] == pytest.approx(10)
    assert by_layer["blocks.2.ffn.0"]["snr_db"] is by_layer["blocks.3.ffn.0"]["snr_db"] is None
    assert found["keep"] == ["blocks.3.ffn.0 = keep"]
