"""The ranking: what is said to fit does, more memory is never worse, and the first advice for cards that many have."""

import functools
import math
from dataclasses import replace

import pytest

from x2v_quant.advice.footprint import nbytes, of_name
from x2v_quant.advice.gpus import GIB, named
from x2v_quant.advice.models import MODELS
from x2v_quant.advice.placing import BESIDE, Room, Weight, place
from x2v_quant.advice.rank import PLAIN, ranked
from x2v_quant.advice.report import described, report
from x2v_quant.advice.size import Size
from x2v_quant.advice.text import first_line, lines
from x2v_quant.formats import FORMATS
from x2v_quant.kernels import LIBRARIES
from x2v_quant.kernels.machine import Machine
from x2v_quant.rounding.gains import GAINS

CARDS = ("RTX 2060", "RTX 3060 12GB", "RTX 4090", "RTX 5090", "H100")
SIZES = {"small": Size(480, 272, 17), "usual": None, "large": Size(1280, 720, 81)}
GBS = (4, 6, 8, 10, 12, 16, 20, 24, 32, 48, 80, 141)
# parameters in billions, as published
PARAMETERS = {
    "wan2.1-t2v-14b": 14.3,
    "wan2.1-t2v-1.3b": 1.42,
    "wan2.1-i2v-14b": 16.4,
    "wan2.2-t2v-a14b": 14.3,
    "wan2.2-i2v-a14b": 14.3,
    "wan2.2-ti2v-5b": 5.0,
    "qwen-image": 20.4,
    "flux": 11.9,
    "z-image": 6.15,
}
every_model = pytest.mark.parametrize("model", MODELS)
every_card = pytest.mark.parametrize("card", CARDS)
every_size = pytest.mark.parametrize("size", SIZES)


@functools.cache
def footprint(model, size="usual"):
    return of_name(MODELS[model], SIZES[size])


def advised(model, card, vram_gb=None, ram_gb=32, size="usual"):
    machine, row, vram = described(named(card))
    return ranked(footprint(model, size), machine, row, Room(int(vram_gb * GIB) if vram_gb else vram, ram_gb * GIB))


@every_model
def test_a_model_is_as_large_as_it_is_published(model):
    found = footprint(model)
    assert found.weights({}).total / 2e9 == pytest.approx(PARAMETERS[model], rel=0.03)
    assert len(found.blocks) > 20 and len(found.formats("int8-channel")) > 100


def test_tokens_and_work_of_wan_14b():
    """As others count them: 32,760 tokens; linear layers 783 TFLOP."""
    found = footprint("wan2.1-t2v-14b")
    flops = sum(2 * found.tokens_of(name) * math.prod(shape) for name, shape in found.layers.items())
    assert (found.tokens, found.width, len(found.blocks)) == (32760, 5120, 40)
    assert flops == pytest.approx(783e12, rel=0.06)


@pytest.mark.parametrize("name", GAINS)
def test_a_layer_takes_the_bits_of_its_format(name):
    shape = (5120, 5120)
    bits = {"mxfp6": 6.25}.get(name, 8 if name.startswith(("int8", "fp8")) else 4.5)
    assert FORMATS[name].fits(shape) and nbytes(name, shape) * 8 / math.prod(shape) == pytest.approx(bits, abs=0.3)


@every_size
@every_card
@every_model
def test_what_fits_is_no_more_than_there_is(model, card, size):
    vram = named(card).vram
    rows = advised(model, card, size=size)
    assert {row.format for row in rows} == {PLAIN, *GAINS}
    for row in rows:
        assert row.place.resident + row.place.streamed == row.weights and row.place.streamed >= 0
        assert row.place.fits == (row.place.vram <= vram and row.place.ram <= 32 * GIB)
        assert row.place.least <= row.place.vram
    assert [row.place.fits for row in rows] == sorted((row.place.fits for row in rows), reverse=True)


@every_size
@pytest.mark.parametrize("card", CARDS[1:4])
@pytest.mark.parametrize("model", ["wan2.1-t2v-14b", "wan2.2-i2v-a14b", "qwen-image", "flux"])
def test_more_memory_is_never_worse(model, card, size):
    of_vram = [advised(model, card, gb, size=size)[0] for gb in GBS]
    of_ram = [advised(model, card, 12, gb, size)[0] for gb in (8, 16, 24, 32, 48, 64, 128)]
    for rows in (of_vram, of_ram):
        keys = [(not row.place.fits, row.cost) for row in rows]
        assert keys == sorted(keys, reverse=True)


@every_card
def test_the_longer_the_video_the_less_stays_on_the_card(card):
    rows = [next(row for row in advised("wan2.1-t2v-14b", card, size=size) if row.format == PLAIN) for size in SIZES]
    by_size = dict(zip(SIZES, rows, strict=True))
    assert by_size["small"].place.resident >= by_size["usual"].place.resident >= by_size["large"].place.resident
    assert by_size["small"].seconds < by_size["large"].seconds


@pytest.mark.parametrize(
    "card,said",
    [
        (
            "RTX 3060 12GB",
            "Take int8-convrot (gptq, with a calibration), offload mode auto: 4.57 GB of 14.5 GB of weights stay on "
            "the card, the rest comes from RAM in every step. Estimated 1.5 times as fast as 16 bits, which come from "
            "their file in every step. In our test it was 1.6 % off 16 bits.",
        ),
        (
            "RTX 4090",
            "Take int8-channel (gptq, with a calibration), offload mode auto: all 14.5 GB of weights stay on the card. "
            "Estimated 1.5 times as fast as 16 bits, which come from their file in every step. In our test it was "
            "2.3 % off 16 bits.",
        ),
        (
            "RTX 5090",
            "Take int8-convrot (gptq, with a calibration), offload mode auto: all 14.5 GB of weights stay on the card. "
            "Estimated 1.5 times as fast as 16 bits, which come from their file in every step. In our test it was "
            "1.6 % off 16 bits.",
        ),
        (
            "H100",
            "Take int8-channel (gptq, with a calibration), offload mode auto: all 14.5 GB of weights stay on the card. "
            "Estimated 1.3 times as fast as 16 bits. In our test it was 2.3 % off 16 bits.",
        ),
        (
            "RTX 2060",
            "It may stop for lack of memory: with int8-convrot it takes 8.79 GB of VRAM, and there are 6.44 GB. Make "
            "fewer frames or a smaller picture, or take a smaller model.",
        ),
    ],
)
def test_the_first_advice_for_wan_14b(card, said):
    assert first_line(report(footprint("wan2.1-t2v-14b"), card, 32)) == said


def test_what_a_card_cannot_multiply_is_weight_only():
    rows = {row.format: row for row in advised("wan2.1-t2v-14b", "RTX 3060")}
    whole = {"16 bits", "int8-channel", "int8-convrot", "w4a8"}
    assert {name for name, row in rows.items() if not row.weights_only} == whole
    text = lines(report(footprint("wan2.1-t2v-14b"), "RTX 3060", 32))
    assert sum("16 bits (saves memory only)" in line for line in text) == len(rows) - len(whole)
    assert rows["fp8-channel"].loss.percent == GAINS["fp8-channel"].weights_only
    newer = {row.format: row for row in advised("wan2.1-t2v-14b", "RTX 5090")}
    assert newer["nvfp4"].activation == "nvfp4" and newer["nvfp4"].gain > newer["int8-channel"].gain
    # 4 bits are not advised for speed alone
    assert next(iter(newer)) == "int8-convrot"


def test_two_experts_need_the_ram_of_both():
    one, two = (advised(name, "RTX 4090", ram_gb=128)[0].place for name in ("wan2.1-t2v-14b", "wan2.2-t2v-a14b"))
    assert two.vram == one.vram and two.ram - one.ram == one.resident
    # with less RAM they stay in their files
    assert advised("wan2.2-t2v-a14b", "RTX 4090", ram_gb=16)[0].place.mode == "disk"


def test_without_dynamic_vram_blocks_are_fetched():
    weight, room = Weight(10 * GIB, GIB, GIB), Room(8 * GIB, 64 * GIB, dynamic=False)
    found = place(weight, GIB, room)
    assert (found.mode, found.resident, found.streamed) == ("block", 6 * GIB, 4 * GIB)
    assert place(weight, GIB, replace(room, vram=11 * GIB)).mode == "auto"


def test_too_little_ram_is_said():
    found = place(Weight(10 * GIB, GIB, GIB), GIB, Room(8 * GIB, BESIDE))
    assert found.lacks == "RAM" and not found.fits


@pytest.mark.parametrize("vnni", [True, False])
def test_a_cpu_gets_no_estimate_of_speed(vnni):
    machine = Machine("cpu", "CPU", vnni=vnni, libraries=frozenset(LIBRARIES))
    rows = ranked(footprint("wan2.1-t2v-1.3b"), machine, None, Room(None, 64 * GIB))
    assert all(row.place.fits and row.place.vram == 0 for row in rows)
    assert (rows[0].format == PLAIN) == (not vnni) and (rows[0].activation == "int8") == vnni
