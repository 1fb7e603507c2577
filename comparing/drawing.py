"""Colours, fonts and conversion to core's IMAGE, for both pictures."""

import numpy
import torch
from PIL import Image, ImageFont

INK, PAPER, GRID = "#222222", "#ffffff", "#dddddd"
MARGIN = 16
FONT_SIZE = 13
LINE = 18  # of text


def font() -> ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)


def as_image(picture: Image.Image) -> torch.Tensor:
    """RGB -> float32 [1, height, width, 3] in 0 to 1."""
    return torch.from_numpy(numpy.array(picture)).float()[None] / 255
