"""README's moving picture: `python -m x2v_quant.benchmarks.animation PICTURE` samples PROMPTS with the demo's int8
files in a real ComfyUI and draws them as one animated .webp, each video above its prompt."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from ..demo import assets, prompts, reading
from ..demo.graph import node_of, prompt
from ..demo.run import SAVER, SEED, saved_video
from ..demo.video import frames
from ..headless.server import Server, serve

PROMPTS = (
    "a red circle moving right",
    "a green triangle moving up",
    "a blue square moving left",
    "a yellow circle moving down",
    "a cyan square moving right",
    "a purple triangle moving left",
    "a yellow triangle moving right",
    "a blue circle moving up",
)
COLUMNS, SIDE, GAP, CAPTION = 4, 176, 8, 22  # pixels: of a video, between two, and of a line of text
FONT = 12
MILLISECONDS, LAST = 110, 900  # of a frame, and of the last one
PAPER, INK = "white", "black"


def video(server: Server, words: str) -> torch.Tensor:
    """The frames [frames, height, width, 3] for a prompt. Raises ValueError if they do not show what it says."""
    changes = {"Positive Prompt.text": words, "KSampler.seed": SEED}
    made = prompt(assets.INT8, "t2v", server.client.object_info(), changes)
    shown = frames(saved_video(server, server.client.run(made, lambda event: None), node_of(made, SAVER)))
    if prompts.wrong(prompts.said(words), reading.read(shown)):
        raise ValueError(f"{prompts.verdict(words, reading.read(shown))} Take another prompt into the picture.")
    return shown


def sheets(videos: Sequence[torch.Tensor], captions: Sequence[str]) -> list[Image.Image]:
    """A picture per frame: the videos in rows of COLUMNS, each with its caption below. All have as many frames."""
    return [_sheet([shown[number] for shown in videos], captions) for number in range(len(videos[0]))]


def _sheet(pictures: Sequence[torch.Tensor], captions: Sequence[str]) -> Image.Image:
    rows = -(-len(pictures) // COLUMNS)
    across, down = SIDE + GAP, SIDE + CAPTION + GAP
    sheet = Image.new("RGB", (GAP + COLUMNS * across, GAP + rows * down), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = GAP + number % COLUMNS * across, GAP + number // COLUMNS * down
        image = Image.fromarray((picture * 255).round().byte().numpy())
        sheet.paste(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (x, y))
        draw.text((x + SIDE / 2, y + SIDE + CAPTION / 2), caption, INK, font, anchor="mm")
    return sheet


def save(pictures: Sequence[Image.Image], target: Path) -> None:
    times = [*[MILLISECONDS] * (len(pictures) - 1), LAST]
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=times, loop=0, quality=80, method=6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, help="an animated .webp")
    target = parser.parse_args().picture
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as server:
        save(sheets([video(server, words) for words in PROMPTS], PROMPTS), target)


if __name__ == "__main__":
    main()
