"""All frames of a video in one picture: `python -m x2v_quant.demo.contact_sheet VIDEO PICTURE`.

This draws the thumbnails of the demo's workflows.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.functional import to_pil_image
from torchvision.utils import make_grid

from .video import frames

COLUMNS, GAP = 3, 8
WIDTH = 720  # pixels, as the thumbnails of the other workflows


def contact_sheet(video: torch.Tensor) -> Image.Image:
    """The frames of a video [frames, height, width, 3] in rows of COLUMNS, WIDTH pixels wide."""
    sheet = to_pil_image(make_grid(video.permute(0, 3, 1, 2), nrow=COLUMNS, padding=GAP, pad_value=1.0))
    return sheet.resize((WIDTH, round(sheet.height * WIDTH / sheet.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    contact_sheet(frames(Path(sys.argv[1]))).save(sys.argv[2], quality=90)
