"""Scenes: every combination once, a fair sixth held out, and videos that show what their words say."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.demo.scenes import (
    CAPTIONS,
    COLOURS,
    DIRECTIONS,
    FRAMES,
    HELD_OUT,
    SCENES,
    SHAPES,
    SIDE,
    SPEED,
    TRAINING,
    Scene,
    coverage,
    render,
)


def test_every_combination_is_there_once():
    assert len(SCENES) == len(set(SCENES)) == len(COLOURS) * len(SHAPES) * len(DIRECTIONS)


def test_a_sixth_is_held_out_and_every_word_is_seen_in_training():
    assert len(HELD_OUT) == len(set(HELD_OUT)) == len(SCENES) // 6
    assert set(TRAINING) | set(HELD_OUT) == set(SCENES)
    assert not set(TRAINING) & set(HELD_OUT)
    for name, known in (("colour", COLOURS), ("shape", SHAPES), ("direction", DIRECTIONS)):
        held_out = Counter(getattr(scene, name) for scene in HELD_OUT)
        assert held_out == dict.fromkeys(known, len(HELD_OUT) // len(known))


def test_captions_are_distinct_and_name_all_three_words():
    captions = [caption for scene in SCENES for caption in scene.captions]
    assert len(set(captions)) == len(captions) == len(SCENES) * len(CAPTIONS)
    for scene in SCENES:
        assert all(word in caption for caption in scene.captions for word in vars(scene).values())
    assert Scene("red", "circle", "right").caption == "a red circle moving right"


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_of_one_radius_have_one_area(shape):
    x = torch.arange(-32, 32) + 0.5
    area = coverage(shape, x, x[:, None], torch.tensor(12.0)).sum().item()
    assert area == pytest.approx(torch.pi * 12**2, rel=0.02)


@settings(max_examples=25, deadline=None)
@given(scene=st.sampled_from(SCENES), seed=st.integers(0, 2**32))
def test_the_shape_stays_in_the_picture_and_moves_steadily(scene, seed):
    (video,) = render([scene], torch.Generator().manual_seed(seed))
    assert video.shape == (FRAMES, SIDE, SIDE, 3)
    assert video.min() >= 0
    assert video.max() <= 1
    object_ = (video - video[0, 0, 0]).norm(dim=-1)
    solid = object_ > object_.max() / 2
    assert not solid[:, [0, -1]].any()
    assert not solid[:, :, [0, -1]].any()
    pixels = torch.arange(SIDE).float()
    mass = object_.sum((1, 2))
    centres = torch.stack([object_.sum(1) @ pixels / mass, object_.sum(2) @ pixels / mass], dim=1)
    ways = centres.diff(dim=0)
    along = ways @ torch.tensor(DIRECTIONS[scene.direction]).float()
    # a hair of a triangle's edge may lie outside
    assert (along > SPEED[0] - 0.25).all()
    assert (ways - ways.mean(0)).abs().max() < 0.25


def test_same_seed_same_videos():
    first, second, other = (render(list(HELD_OUT), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
