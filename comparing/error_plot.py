"""A picture of the error over the steps."""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from .drawing import GRID, INK, LINE, MARGIN, PAPER, font

SIZE = (720, 360)
LEFT, BOTTOM = 76, 52  # room for the numbers beside the axes
TICKS = 4
MOST_NUMBERS = 20  # below the horizontal axis
FINE = 0.1  # scales that end below it have three decimals
COLOUR, DOT = "#3b75af", 4
TITLE = "error of the predicted latent, |difference| / |latent|"


def error_plot(steps: Sequence[float]) -> Image.Image:
    """RGB picture with a point for each step, on a scale from 0. Steps that are not finite have no point."""
    picture = Image.new("RGB", SIZE, PAPER)
    draw = ImageDraw.Draw(picture)
    text = font()
    draw.text((MARGIN, MARGIN - 6), TITLE, INK, text)
    highest = max((error for error in steps if math.isfinite(error)), default=0.0) or 1.0
    for tick in range(TICKS + 1):
        value = highest * tick / TICKS
        _, y = point(0, value, len(steps), highest)
        draw.line((LEFT, y, SIZE[0] - MARGIN, y), GRID)
        draw.text((MARGIN, y - 8), f"{value:.3%}" if highest < FINE else f"{value:.1%}", INK, text)
    every = -(-len(steps) // MOST_NUMBERS)
    points = []
    for step, error in enumerate(steps):
        x, _ = point(step, 0, len(steps), highest)
        if step % every == 0:
            draw.text((x - 4, SIZE[1] - BOTTOM + 6), str(step + 1), INK, text)
        if math.isfinite(error):
            points.append(point(step, error, len(steps), highest))
    draw.text((LEFT, SIZE[1] - BOTTOM + 6 + LINE), "step", INK, text)
    if len(points) > 1:
        draw.line(points, COLOUR, 2)
    for x, y in points:
        draw.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), COLOUR)
    return picture


def point(step: int, error: float, steps: int, highest: float) -> tuple[int, int]:
    """The position of a step's error in the plot, in pixels from the top left."""
    width, height = SIZE[0] - LEFT - 2 * MARGIN, SIZE[1] - 2 * MARGIN - LINE - BOTTOM
    x = LEFT + MARGIN // 2 + round(width * step / max(steps - 1, 1))
    return x, SIZE[1] - BOTTOM - round(height * error / highest)
