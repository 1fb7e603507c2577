"""The sheet of a video's frames, also as a command."""

import subprocess
import sys

import av
import pytest
import torch
from PIL import Image

from x2v_quant.demo.contact_sheet import COLUMNS, WIDTH, contact_sheet
from x2v_quant.demo.scenes import FRAMES, SIDE

GREYS = torch.linspace(0, 0.8, FRAMES)


@pytest.fixture
def video():
    """Each frame of a grey of its own."""
    return GREYS.reshape(-1, 1, 1, 1).expand(FRAMES, SIDE, SIDE, 3)


def middles(sheet):
    """The grey in the middle of every place of the sheet, row by row."""
    places = [(i + 0.5) * WIDTH / COLUMNS for i in range(COLUMNS)]
    return [sheet.getpixel((round(x), round(y)))[0] / 255 for y in places for x in places]


def test_every_frame_is_there_in_its_order(video):
    sheet = contact_sheet(video)
    assert sheet.size == (WIDTH, WIDTH)
    assert middles(sheet) == pytest.approx(GREYS.tolist(), abs=0.01)
    assert sheet.getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.slow
def test_the_command_draws_a_saved_video(video, tmp_path):
    with av.open(str(tmp_path / "video.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8)
        stream.width = stream.height = SIDE
        for frame in video:
            picture = av.VideoFrame.from_ndarray((frame * 255).byte().contiguous().numpy(), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    command = [sys.executable, "-m", "x2v_quant.demo.contact_sheet", tmp_path / "video.mp4", tmp_path / "sheet.jpg"]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert middles(sheet) == pytest.approx(GREYS.tolist(), abs=0.05)
