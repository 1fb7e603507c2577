"""The picture: lengths of bars against bytes."""

import numpy
import pytest
from PIL import ImageColor

from x2v_quant.runtime.memory import Component, MemoryReport, MemoryUse, chart
from x2v_quant.runtime.memory.chart import BAR_WIDTH, BF16_COLOUR, COLOURS
from x2v_quant.runtime.memory.report import RESIDENCIES, Peak, ProcessPeak

PEAK = Peak("since this run began", (), ProcessPeak(10**9, "since this run began", 10**8, 10**8, 10**10))
LEGEND = 10  # pixels that a colour has in a row of the legend


def lengths(picture, colour):
    """The bars of a colour from top to bottom, in pixels."""
    rows = (numpy.array(picture) == ImageColor.getrgb(colour)).all(-1)
    counts = [int(row.sum()) for row in rows if row.sum() > LEGEND]
    return [count for index, count in enumerate(counts) if index == 0 or counts[index - 1] != count]


def report(*models):
    components = (Component(f"model {n}", {"weights": held}, held.total, bf16) for n, (held, bf16) in enumerate(models))
    return MemoryReport(tuple(components), PEAK)


def test_every_colour_has_a_place():
    assert tuple(COLOURS) == tuple(RESIDENCIES)


@pytest.mark.parametrize("scale", [1, 10**9])
def test_bars_are_in_proportion(scale):
    held = MemoryUse(*(count * scale for count in (20, 10, 30, 60)))
    picture = chart(report((held, 240 * scale)))
    assert {place: lengths(picture, colour) for place, colour in COLOURS.items()} == {
        "device": [BAR_WIDTH * 20 // 240],
        "pinned": [BAR_WIDTH * 10 // 240],
        "ram": [BAR_WIDTH * 30 // 240],
        "disk": [BAR_WIDTH * 60 // 240],
    }
    assert lengths(picture, BF16_COLOUR) == [BAR_WIDTH]


def test_models_share_one_scale():
    picture = chart(report((MemoryUse(disk=100), 200), (MemoryUse(ram=50, disk=25), 100)))
    assert lengths(picture, COLOURS["disk"]) == [BAR_WIDTH // 2, BAR_WIDTH // 8]
    assert lengths(picture, COLOURS["ram"]) == [BAR_WIDTH // 4]
    assert lengths(picture, BF16_COLOUR) == [BAR_WIDTH, BAR_WIDTH // 2]


def test_nothing_to_draw():
    """The legend alone, and smaller."""
    empty = chart(report())
    assert empty.mode == "RGB"
    assert empty.height < chart(report((MemoryUse(ram=1), 2))).height
    assert not any(lengths(empty, colour) for colour in COLOURS.values())
    assert len({tuple(pixel) for pixel in numpy.array(empty).reshape(-1, 3)}) > len(COLOURS)
