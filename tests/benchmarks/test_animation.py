"""README's moving picture: what is asked for, how it is drawn, and that the one that is kept is so."""

from pathlib import Path

import torch
from PIL import Image

from x2v_quant.benchmarks import animation
from x2v_quant.demo import prompts
from x2v_quant.demo.scenes import FRAMES, SIDE

KEPT = Path(animation.__file__).parents[1] / "docs" / "images" / "demo.webp"


def test_each_prompt_says_all_that_the_model_knows():
    asked = [prompts.said(words) for words in animation.PROMPTS]
    assert len(set(asked)) == len(asked) == 2 * animation.COLUMNS
    assert all(None not in vars(scene).values() for scene in asked)


def test_a_video_is_drawn_above_its_caption(tmp_path):
    videos = [torch.full((3, SIDE, SIDE, 3), shade) for shade in (0.0, 0.5, 1.0, 0.25, 0.75)]
    for shown in videos:
        shown[1] = 1 - shown[1]
    pictures = animation.sheets(videos, ["a", "b", "c", "d", "e"])
    step = animation.SIDE + animation.GAP
    middle = animation.GAP + animation.SIDE // 2
    assert [pictures[0].getpixel((middle + step * column, middle))[0] for column in range(4)] == [0, 128, 255, 64]
    below = middle + step + animation.CAPTION
    assert pictures[0].getpixel((middle, below))[0] == 191
    assert pictures[1].getpixel((middle, below))[0] == 64
    caption = (animation.GAP, animation.GAP + animation.SIDE, step, animation.GAP + animation.SIDE + animation.CAPTION)
    assert pictures[0].crop(caption).getextrema()[0][0] < 128  # ink on paper
    animation.save(pictures, tmp_path / "moving.webp")
    with Image.open(tmp_path / "moving.webp") as moving:
        assert (moving.n_frames, moving.info["loop"]) == (3, 0)


def test_the_picture_that_is_kept_shows_them_all():
    blank = torch.zeros(1, SIDE, SIDE, 3)
    (sheet,) = animation.sheets([blank] * len(animation.PROMPTS), animation.PROMPTS)
    with Image.open(KEPT) as kept:
        assert (kept.size, kept.n_frames) == (sheet.size, FRAMES)
