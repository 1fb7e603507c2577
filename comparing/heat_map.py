"""A heat map of the layers: a column per block, a row per kind of layer, signal to noise as colour."""

import math
import re
from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw

from .drawing import INK, LINE, MARGIN, PAPER, font
from .layers import Layer

WIDTH = 1000  # of all columns, within the limits of CELLS
CELLS = (12, 44)  # least and largest width of a column
HEIGHT = 22  # of a row
NUMBER_NEEDS = 26  # pixels for a number in a cell
LEGEND_CELL = 60
EMPTY = "no layers in blocks were compared"
# colours from a low to a high signal-to-noise ratio
SCALE = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
IDENTICAL, BROKEN = "#d9d9d9", "#d62728"
# "blocks.3.ffn.0" -> ("blocks.3", "ffn.0"); a name without a number that is followed by more is in no block
BLOCK = re.compile(r"(?P<block>.*?\b\d+)\.(?P<kind>.+)")


def heat_map(layers: Sequence[Layer]) -> Image.Image:
    """RGB picture. Layers outside of blocks are left out. Grey: identical bits; red: not a number."""
    cells = {place: layer for layer in layers if (place := block_and_kind(layer.name))}
    blocks = list(dict.fromkeys(block for block, _ in cells))
    kinds = list(dict.fromkeys(kind for _, kind in cells))
    values = [layer.snr for layer in cells.values() if math.isfinite(layer.snr)]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    text = font()
    column = min(CELLS[1], max(CELLS[0], WIDTH // max(len(blocks), 1)))
    left = MARGIN + 8 + round(max(map(text.getlength, kinds), default=0))
    top = MARGIN + LINE + (2 * LINE if blocks else 0)
    legend = top + len(kinds) * HEIGHT + MARGIN
    width = max(left + len(blocks) * column, left + (len(SCALE) + 2) * LEGEND_CELL) + MARGIN
    picture = Image.new("RGB", (width, legend + HEIGHT + LINE + MARGIN), PAPER)
    draw = ImageDraw.Draw(picture)
    title = "signal to noise of each layer's output, dB" if blocks else EMPTY
    draw.text((MARGIN, MARGIN - 6), title, INK, text)
    _columns(draw, blocks, left, top, column, text)
    for row, kind in enumerate(kinds):
        y = top + row * HEIGHT
        draw.text((MARGIN, y + 3), kind, INK, text)
        for place, block in enumerate(blocks):
            if (block, kind) in cells:
                _cell(draw, (left + place * column, y), column, cells[block, kind].snr, (low, high), text)
    _legend(draw, left, legend, (low, high), text)
    return picture


def block_and_kind(name: str) -> tuple[str, str] | None:
    """(block, kind of layer), None for a layer outside of blocks."""
    found = BLOCK.fullmatch(name)
    return None if found is None else (found["block"], found["kind"])


def colour_of(snr: float, span: tuple[float, float]) -> tuple[int, int, int]:
    """RGB colour of a value in dB on the scale from span[0] to span[1]."""
    if not math.isfinite(snr):
        return ImageColor.getrgb(IDENTICAL if snr > 0 else BROKEN)
    low, high = span
    place = (snr - low) / (high - low) * (len(SCALE) - 1) if high > low else len(SCALE) - 1
    index = min(int(place), len(SCALE) - 2)
    ends = (ImageColor.getrgb(colour) for colour in SCALE[index : index + 2])
    return tuple(round(a + (b - a) * (place - index)) for a, b in zip(*ends, strict=True))


def _columns(draw, blocks: list[str], left: int, top: int, column: int, text) -> None:
    """Draw the list's name above its first block, and below it the numbers of as many blocks as there is room for."""
    stack, free = None, {"name": 0.0, "number": 0.0}
    for place, block in enumerate(blocks):
        name, _, number = block.rpartition(".")
        x = left + place * column
        words = {"name": name if name != stack else "", "number": number}
        stack = name
        for (line, word), height in zip(words.items(), (2 * LINE, LINE), strict=True):
            if word and x >= free[line]:
                draw.text((x, top - height), word, INK, text)
                free[line] = x + draw.textlength(word, text) + 6


def _cell(draw, corner: tuple[int, int], width: int, snr: float, span: tuple[float, float], text) -> None:
    x, y = corner
    colour = colour_of(snr, span)
    draw.rectangle((x, y, x + width - 2, y + HEIGHT - 2), colour)
    if width >= NUMBER_NEEDS and math.isfinite(snr):
        draw.text((x + 3, y + 3), f"{snr:.0f}", INK if sum(colour) > 380 else PAPER, text)


def _legend(draw, left: int, top: int, span: tuple[float, float], text) -> None:
    low, high = span
    values = [low + (high - low) * step / (len(SCALE) - 1) for step in range(len(SCALE))]
    entries = [(snr, f"{snr:.1f}") for snr in (values if high > low else [high])]
    for place, (snr, words) in enumerate([*entries, (math.inf, "identical"), (-math.inf, "NaN")]):
        x = left + place * LEGEND_CELL
        draw.rectangle((x, top, x + LEGEND_CELL - 2, top + HEIGHT - 2), colour_of(snr, span))
        draw.text((x, top + HEIGHT), words, INK, text)
