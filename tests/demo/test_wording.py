"""What a prompt asks for and how a result is judged against it."""

import pytest

from x2v_quant.demo.prompts import DEFAULT, said, scene, verdict
from x2v_quant.demo.reading import Reading
from x2v_quant.demo.scenes import SCENES, Scene


@pytest.mark.parametrize("scene_", SCENES[::7])
def test_every_caption_says_its_scene(scene_):
    for caption in scene_.captions:
        assert scene(caption) == scene_


@pytest.mark.parametrize(
    ("prompt", "asked", "filled"),
    [
        ("A BLUE Square", Reading("blue", "square", None), Scene("blue", "square", DEFAULT.direction)),
        ("two dark boats at night", Reading(), DEFAULT),
        ("redder circles go upwards", Reading(), DEFAULT),
        ("up, then left: a triangle", Reading(None, "triangle", "up"), Scene(DEFAULT.colour, "triangle", "up")),
    ],
)
def test_only_whole_known_words_count_and_the_first_wins(prompt, asked, filled):
    assert said(prompt) == asked
    assert scene(prompt) == filled


@pytest.mark.parametrize(
    ("prompt", "shown", "line"),
    [
        (
            "a red circle moving right",
            Reading("red", "circle", "right"),
            "As asked: the prompt says red, circle, right; the video shows red, circle, right.",
        ),
        (
            "a red circle moving right",
            Reading("red", None, "left"),
            "NOT as asked (shape, direction): the prompt says red, circle, right; the video shows red, ?, left.",
        ),
        ("a boat", Reading(), "The prompt says nothing known; the video shows nothing clear."),
        (
            "a red boat",
            Reading("red", "square", "up"),
            "As asked: the prompt says red, ?, ?; the video shows red, square, up.",
        ),
    ],
)
def test_the_verdict_is_one_line_and_loud_when_wrong(prompt, shown, line):
    assert verdict(prompt, shown) == line
