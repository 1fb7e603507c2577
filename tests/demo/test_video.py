"""Saved videos are read back, and image to video starts from a picture of the scene."""

import av
import pytest
import torch
from comfy_api.latest import InputImpl, Types

from x2v_quant.demo.reading import Reading, read
from x2v_quant.demo.scenes import FRAMES, HELD_OUT, SIDE, render
from x2v_quant.demo.video import frames, start_image

TIMES = 4  # as the demo's workflow enlarges


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Scenes as ComfyUI's own SaveVideo writes them: enlarged, H.264."""
    folder = tmp_path_factory.mktemp("video")

    def save(scene):
        (video,) = render([scene], torch.Generator().manual_seed(2))
        enlarged = video.repeat_interleave(TIMES, dim=1).repeat_interleave(TIMES, dim=2)
        path = folder / f"{scene.caption}.mp4"
        InputImpl.VideoFromComponents(Types.VideoComponents(images=enlarged, frame_rate=8)).save_to(str(path))
        return path

    return save


@pytest.mark.parametrize("scene", HELD_OUT[::6], ids=lambda scene: scene.caption)
def test_a_compressed_video_is_still_read_right(saved, scene):
    video = frames(saved(scene))
    assert video.shape == (FRAMES, TIMES * SIDE, TIMES * SIDE, 3)
    assert read(video) == Reading(scene.colour, scene.shape, scene.direction)


def test_a_broken_video_is_an_error(saved, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(saved(HELD_OUT[0]).read_bytes()[:500])
    with pytest.raises(av.FFmpegError):
        frames(path)


@pytest.mark.parametrize("scene", HELD_OUT[::4], ids=lambda scene: scene.caption)
def test_the_start_image_shows_the_scene(scene):
    image = start_image(scene, 1)
    assert image.size == (SIDE, SIDE)
    first = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(1, SIDE, SIDE, 3) / 255
    found = read(first.expand(FRAMES, -1, -1, -1))
    assert found == Reading(scene.colour, scene.shape, None)
    assert start_image(scene, 1).tobytes() == image.tobytes() != start_image(scene, 2).tobytes()
