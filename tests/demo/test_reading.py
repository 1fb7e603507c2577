"""Reading a video: every scene is read right, also blurred, noisy, dim or enlarged; nothing is read off nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.functional import gaussian_blur

from x2v_quant.demo.reading import Reading, read
from x2v_quant.demo.scenes import FRAMES, SCENES, SIDE, Scene, render

scenes = st.sampled_from(SCENES)
seeds = st.integers(0, 2**32)
examples = settings(max_examples=20, deadline=None)
OPPOSITE = {"right": "left", "left": "right", "up": "down", "down": "up"}


def video_of(scene, seed):
    return render([scene], torch.Generator().manual_seed(seed))[0]


def reading_of(scene):
    return Reading(scene.colour, scene.shape, scene.direction)


def test_every_scene_is_read_right():
    videos = render(list(SCENES), torch.Generator().manual_seed(1))
    assert [read(video) for video in videos] == [reading_of(scene) for scene in SCENES]


@examples
@given(scenes, seeds, st.floats(0, 0.08))
def test_noise_does_not_matter(scene, seed, deviation):
    video = video_of(scene, seed)
    noise = torch.randn(video.shape, generator=torch.Generator().manual_seed(seed + 1)) * deviation
    assert read(video + noise) == reading_of(scene)


@examples
@given(scenes, seeds, st.floats(0.3, 1.0))
def test_a_little_blur_does_not_matter(scene, seed, sigma):
    blurred = gaussian_blur(video_of(scene, seed).movedim(-1, 1), kernel_size=7, sigma=sigma).movedim(1, -1)
    assert read(blurred) == reading_of(scene)


@examples
@given(scenes, seeds, st.floats(0.85, 1.05))
def test_brightness_does_not_matter(scene, seed, factor):
    assert read(video_of(scene, seed) * factor) == reading_of(scene)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(scenes, seeds, st.sampled_from([2, 4]))
def test_an_enlarged_video_reads_the_same(scene, seed, times):
    video = video_of(scene, seed)
    enlarged = video.repeat_interleave(times, dim=1).repeat_interleave(times, dim=2)
    assert read(enlarged) == read(video)


@examples
@given(scenes, seeds)
def test_played_backwards_it_moves_the_other_way(scene, seed):
    backwards = read(video_of(scene, seed).flip(0))
    assert backwards == Reading(scene.colour, scene.shape, OPPOSITE[scene.direction])


@pytest.mark.parametrize("scene", [Scene("red", "circle", "right"), Scene("blue", "triangle", "up")])
def test_what_stands_still_has_no_direction(scene):
    video = video_of(scene, 1)[4:5].expand(FRAMES, -1, -1, -1)
    assert read(video) == Reading(scene.colour, scene.shape, None)


@pytest.mark.parametrize(
    "video",
    [
        torch.zeros((FRAMES, SIDE, SIDE, 3)),
        torch.full((FRAMES, SIDE, SIDE, 3), 0.7),
        torch.linspace(0, 0.2, SIDE).reshape(1, 1, SIDE, 1).expand(FRAMES, SIDE, SIDE, 3),
    ],
    ids=["black", "plain", "gradient"],
)
def test_nothing_is_read_off_a_plain_video(video):
    assert read(video) == Reading()


@pytest.mark.parametrize("seed", range(5))
def test_noise_has_no_shape(seed):
    video = torch.rand((FRAMES, SIDE, SIDE, 3), generator=torch.Generator().manual_seed(seed))
    assert read(video).shape is None


def test_a_shape_that_is_gone_in_one_frame_is_not_read():
    video = video_of(SCENES[0], 1).clone()
    video[4] = video[4, 0, 0]
    assert read(video) == Reading()


def test_matches_names_what_is_wrong():
    scene = Scene("red", "circle", "right")
    assert reading_of(scene).matches(scene) == {"colour": True, "shape": True, "direction": True}
    wrong = Reading("red", None, "left").matches(scene)
    assert wrong == {"colour": True, "shape": False, "direction": False}
