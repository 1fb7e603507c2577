"""The prompt decides what is seen, through the real server: combinations never trained on among others, read off the
saved (enlarged, compressed) video. Unquantized in nothing but ComfyUI's own layers, int8 and fp8 in our nodes."""

import pytest

from x2v_quant.demo import assets
from x2v_quant.demo import graph as demo_graph
from x2v_quant.demo.graph import node_of
from x2v_quant.demo.reading import read
from x2v_quant.demo.run import saved_video
from x2v_quant.demo.scenes import COLOURS, DIRECTIONS, HELD_OUT, SHAPES, Scene
from x2v_quant.demo.video import frames, start_image

pytestmark = pytest.mark.slow

KINDS = (assets.ORIGINAL, *assets.FORMATS)
# half of them held out; between them every colour, shape and direction
SCENES = (
    *HELD_OUT[1::4],
    Scene("green", "circle", "left"),
    Scene("yellow", "triangle", "up"),
    Scene("cyan", "square", "right"),
)
RIGHT = 5  # of the six
START_SEED = 3


def use_reference_encoder(prompt):
    name = assets.names(assets.ORIGINAL).t5
    prompt[node_of(prompt, "X2VLoadT5")] = {"class_type": "ReferenceT5", "inputs": {"text_encoder_name": name}}


@pytest.fixture(scope="module")
def shown(server, object_info):
    """kind, task, overrides, a picture to start from -> what is read off the saved video."""

    def run(kind, task, changes, picture=None):
        prompt = demo_graph.prompt(kind, task, object_info, changes, picture)
        if kind == assets.ORIGINAL:
            use_reference_encoder(prompt)
        result = server.client.run(prompt)
        return read(frames(saved_video(server, result, node_of(prompt, "SaveVideo"))))

    return run


def test_the_prompts_differ_in_everything():
    assert [scene in HELD_OUT for scene in SCENES] == [True] * 3 + [False] * 3
    assert {scene.colour for scene in SCENES} == set(COLOURS)
    assert {scene.shape for scene in SCENES} == set(SHAPES)
    assert {scene.direction for scene in SCENES} == set(DIRECTIONS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_video_shows_what_the_prompt_says(shown, kind):
    wrong = {}
    for seed, scene in enumerate(SCENES):
        reading = shown(kind, "t2v", {"Positive Prompt.text": scene.caption, "KSampler.seed": seed})
        if not all(reading.matches(scene).values()):
            wrong[scene.caption] = reading
    assert len(SCENES) - len(wrong) >= RIGHT, wrong


@pytest.mark.parametrize("kind", assets.FORMATS)
@pytest.mark.parametrize("scene", [Scene("yellow", "square", "left"), Scene("blue", "triangle", "down")], ids=str)
def test_image_to_video_moves_what_the_picture_shows(shown, server, tmp_path, kind, scene):
    path = tmp_path / f"{scene.colour}_{scene.shape}_{scene.direction}.png"
    start_image(scene, START_SEED).save(path)
    picture = server.client.upload_image(path)
    reading = shown(kind, "i2v", {"Positive Prompt.text": scene.caption}, picture)
    assert all(reading.matches(scene).values()), reading
