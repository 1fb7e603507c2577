"""Videos and pictures as the demo needs them: saved frames read back, and the picture that a video starts from."""

from pathlib import Path

import av
import torch
from PIL import Image

from .recipe import SPREAD
from .scenes import Scene, render

START_IMAGE, START_SEED = "x2v_demo_start.png", 1  # of the picture that the command draws


def frames(path: Path) -> torch.Tensor:
    """Every frame, [frames, height, width, 3] in 0 to 1. Raises av.FFmpegError if one cannot be decoded."""
    with av.open(str(path)) as container:
        pictures = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    return torch.stack(pictures) / 255


def start_image(scene: Scene, seed: int) -> Image.Image:
    """The first frame of the scene: what image to video starts from. The seed draws size, place and background."""
    (video,) = render([scene], torch.Generator().manual_seed(seed), SPREAD)
    return Image.fromarray((video[0] * 255).round().byte().numpy())
