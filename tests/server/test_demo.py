"""The demo as a person runs it: what it prints about a result, right or wrong."""

import re
from pathlib import Path

import pytest
from PIL import Image

from x2v_quant.demo import run
from x2v_quant.demo.contact_sheet import WIDTH
from x2v_quant.demo.graph import TASKS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("task", TASKS)
def test_it_says_what_ran_where_the_video_is_and_what_it_shows(server, capsys, task):
    prompt = "a green square moving up"
    run.sample(server, "int8", run.parse(["--task", task, "--prompt", prompt, "--steps", "4"]))
    said = capsys.readouterr().out
    assert f"x2v_demo_{task}_int8.safetensors: scheme auto" in said
    assert re.search(r"^time per step +\d+ ms \(4 steps, 64x64, 9 frames\)$", said, re.MULTILINE)
    video, sheet = (Path(re.search(rf"^{name} +(.+)$", said, re.MULTILINE)[1]) for name in ("video", "its frames"))
    assert video.is_file()
    with Image.open(sheet) as picture:
        assert picture.width == WIDTH
    assert re.search(
        r"^(NOT as|As) asked.*: the prompt says green, square, up; the video shows .+\.$", said, re.MULTILINE
    )


def test_other_seeds_make_other_videos(server, capsys):
    sheets = []
    for seed in ("1", "2", "1"):
        run.sample(server, "int8", run.parse(["--seed", seed, "--steps", "2"]))
        sheets.append(Path(re.search(r"^its frames +(.+)$", capsys.readouterr().out, re.MULTILINE)[1]).read_bytes())
    assert sheets[0] == sheets[2] != sheets[1]


@pytest.mark.parametrize("wrong", [["--format", "int4"], ["--task", "v2v"], ["--steps", "many"]])
def test_a_wrong_option_is_refused(capsys, wrong):
    with pytest.raises(SystemExit) as ended:
        run.parse(wrong)
    assert ended.value.code == 2
    assert wrong[1] in capsys.readouterr().err
