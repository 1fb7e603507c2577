"""fp8 on RTX 40 and 50: what the plan says of it, and what transcoding takes in its place."""

import json
from pathlib import Path

import pytest
import torch
from older_comfyui import core_rotates_int8

from x2v_quant.formats import FORMATS
from x2v_quant.formats.convert import added_error, convert
from x2v_quant.kernels.machine import Machine
from x2v_quant.schemes import resolve
from x2v_quant.schemes.half_rate import FASTER
from x2v_quant.schemes.plan import Plan

ROOT = Path(__file__).parents[2]
CARDS = {"RTX 4090": (8, 9), "NVIDIA GeForce RTX 4060 Ti": (8, 9), "NVIDIA GeForce RTX 5090": (12, 0)}
WHOLE = {"H100": (9, 0), "NVIDIA RTX 5000 Ada Generation": (8, 9), "NVIDIA RTX PRO 6000 Blackwell": (12, 0)}
TRITON, F16 = "triton", "triton 3.5 or newer"
FILES = ["fp8-channel", "fp8-tensor", "fp8-block128", "fp8-channel-smooth"]
SHAPE = (1536, 1536)
SAYS = "fp8 with float32 sums has half the rate of int8"


def plan(name, capability, libraries=(TRITON, F16), transcode=False, file="fp8-channel", shape=SHAPE, scheme="auto"):
    machine = Machine("cuda", name, capability, libraries=frozenset(libraries))
    result = Plan("model", resolve(scheme), machine, torch.bfloat16, transcode=transcode)
    result.assign("blocks.0", file, shape)
    return result


def taken(found):
    choice = found.layers["blocks.0"].choice
    return choice.format, choice.kernel.name


def said(found):
    return sum(SAYS in line for line in found.lines())


@pytest.mark.parametrize("name", CARDS)
@pytest.mark.parametrize("file", FILES)
def test_the_plan_says_it_in_one_line(name, file):
    found = plan(name, CARDS[name], file=file)
    assert said(found) == 1
    assert taken(found)[0] == file


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("transcode", [False, True])
def test_other_cards_have_the_whole_rate(name, transcode):
    found = plan(name, WHOLE[name], transcode=transcode)
    assert said(found) == 0
    assert taken(found)[0] == "fp8-channel"
    assert found.advice() is None


@core_rotates_int8
@pytest.mark.parametrize("libraries,kernel", [((TRITON,), "triton"), (("comfy-kitchen",), "comfy-kitchen")])
@pytest.mark.parametrize("name", CARDS)
def test_transcoding_takes_rotated_int8(name, libraries, kernel):
    found = plan(name, CARDS[name], libraries, transcode=True)
    assert taken(found) == ("int8-convrot", kernel)
    assert said(found) == 0
    assert "become int8-convrot," in plan(name, CARDS[name], libraries).advice()


@core_rotates_int8
@pytest.mark.parametrize("file", FILES)
def test_every_fp8_file_is_taken_and_keeps_its_smoothing(file):
    expected = "int8-convrot-smooth" if file.endswith("smooth") else "int8-convrot"
    assert taken(plan("RTX 4090", (8, 9), transcode=True, file=file)) == (expected, "triton")


@pytest.mark.parametrize("file", [file for file in FILES if file != "fp8-tensor"])
def test_a_width_that_no_group_divides_takes_float16_sums(file):
    expected = "fp8-reduced-smooth" if file.endswith("smooth") else "fp8-reduced"
    found = plan("RTX 4090", (8, 9), transcode=True, file=file, shape=(1536, 1538))
    assert taken(found) == (expected, "triton-f16")
    assert said(found) == 0


def test_nothing_is_taken_whose_second_passes_would_eat_the_gain():
    """Without Triton and comfy-kitchen int8 is torch's, unfused."""
    found = plan("RTX 4090", (8, 9), (), transcode=True)
    assert taken(found)[0] == "fp8-channel"
    assert said(found) == 1


def test_a_scheme_that_was_asked_for_stays():
    assert taken(plan("RTX 4090", (8, 9), transcode=True, scheme="fp8-triton")) == ("fp8-channel", "triton")
    assert said(plan("RTX 4090", (8, 9), scheme="fp8-f16-accum")) == 0


def test_the_nearest_comes_first_by_the_figures_that_are_kept():
    assert [row.off for row in FASTER] == sorted(row.off for row in FASTER)
    (results,) = (ROOT / "benchmarks" / "results" / "fidelity").glob("*.json")
    rows = {row["name"]: row for row in json.loads(results.read_text())["contestants"]}
    measured = {"fp8-channel": "fp8-reduced (reference)", "int8-convrot": "int8-convrot (reference)"}
    kept = {name: rows[row]["latent_error"] for name, row in measured.items()}
    assert {row.format: row.off for row in FASTER} == pytest.approx(kept, rel=0.005)


@core_rotates_int8
def test_what_the_conversion_adds_is_about_a_percent():
    weight = torch.randn(256, 1024, generator=torch.Generator().manual_seed(0)) / 32
    stored = FORMATS["fp8-channel"].quantize(weight, torch.bfloat16)
    assert 0.004 < added_error(stored, convert(stored, "int8-convrot")) < 0.015
    assert added_error(stored, convert(stored, "fp8-reduced")) < 0.001
