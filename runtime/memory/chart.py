"""A memory report as a small picture: for each model a bar by residency and one for its size in bf16; the peaks."""

from PIL import Image, ImageDraw, ImageFont

from ...common.sizes import amount
from .report import RESIDENCIES, MemoryReport, MemoryUse
from .text import peaks
from .verdict import verdict

WIDTH = 640
MARGIN = 16
BAR_WIDTH = 480  # of the longest bar; its number stands to the right of it
FONT_SIZE = 13
LINE = 18  # of text
BAR, THIN_BAR = 18, 8
GAP = 14  # between models
INK, PAPER = "#222222", "#ffffff"
BF16_COLOUR = "#b5bdc9"
COLOURS = {"device": "#3b75af", "pinned": "#ef8636", "ram": "#519e3e", "disk": "#8d69b8"}


def chart(report: MemoryReport) -> Image.Image:
    """An RGB picture. Above the bars, which have the same scale, is the verdict; below are the legend and the peaks."""
    lines = peaks(report)
    rows = LINE + GAP + len(report.components) * (LINE + BAR + THIN_BAR + GAP)
    image = Image.new("RGB", (WIDTH, 2 * MARGIN + rows + LINE + GAP + len(lines) * LINE), PAPER)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_SIZE)
    longest = max((max(part.everything.total, part.bf16) for part in report.components), default=0)
    draw.text((MARGIN, MARGIN), verdict(report)[0], INK, font)
    y = MARGIN + LINE + GAP
    for component in report.components:
        draw.text((MARGIN, y), component.name, INK, font)
        y += LINE
        held = component.everything
        end = _stack(draw, y, held, longest)
        draw.text((end + 6, y + 1), amount(held.total), INK, font)
        y += BAR
        _bar(draw, y, THIN_BAR, (0, component.bf16), longest, BF16_COLOUR)
        y += THIN_BAR + GAP
    _legend(draw, y, font)
    for number, line in enumerate(lines, 1):
        draw.text((MARGIN, y + GAP + number * LINE), line, INK, font)
    return image


def _stack(draw: ImageDraw.ImageDraw, y: int, held: MemoryUse, longest: int) -> int:
    """Draw one bar, a segment per residency, and return the x where it ends."""
    begin, end = 0, MARGIN
    for residency in RESIDENCIES:
        count = getattr(held, residency)
        end = _bar(draw, y, BAR, (begin, begin + count), longest, COLOURS[residency])
        begin += count
    return end


def _bar(draw: ImageDraw.ImageDraw, y: int, height: int, span: tuple[int, int], longest: int, colour: str) -> int:
    """Draw the segment from byte span[0] to byte span[1] and return the x where it ends."""
    left, right = (MARGIN + round(BAR_WIDTH * count / max(longest, 1)) for count in span)
    if right > left:
        draw.rectangle((left, y, right - 1, y + height - 1), colour)
    return right


def _legend(draw: ImageDraw.ImageDraw, y: int, font: ImageFont.ImageFont) -> None:
    x = MARGIN
    for name, colour in (*((RESIDENCIES[key], COLOURS[key]) for key in COLOURS), ("weights in bf16", BF16_COLOUR)):
        draw.rectangle((x, y + 4, x + 9, y + 13), colour)
        draw.text((x + 14, y), name, INK, font)
        x += 14 + round(draw.textlength(name, font)) + 16
