"""What a headless run saves carries prompt and graph, as after a click in the browser: it runs again from there."""

import json
from pathlib import Path

import pytest
from saved_workflows import node, workflow

from x2v_quant.cli import main
from x2v_quant.headless.reading import read_workflow

pytestmark = pytest.mark.slow


def graph(*savers):
    """A picture of one colour, its seed and name behind reroutes and names."""
    return workflow(
        node(1, "EmptyImage", [16, 16, 4, 255], outputs=["IMAGE"]),
        node(2, "SetNode", ["picture"], [("IMAGE", "IMAGE", 1)], outputs=["IMAGE"]),
        node(3, "GetNode", ["picture"], outputs=["IMAGE"]),
        node(4, "Reroute (rgthree)", [], [("", "*", 2)], outputs=["*"]),
        node(5, "Label (rgthree)", [], title="mine", outputs=()),
        *savers,
        links=[(1, 1, 0, 2), (2, 3, 0, 4), (3, 4, 0, 6), (4, 6, 0, 7)],
    )


def images(link):
    return [{"name": "images", "type": "IMAGE", "link": link}]


SAVERS = {
    "picture.png": [{**node(6, "SaveImage", ["carried/picture"], outputs=()), "inputs": images(3)}],
    "animation.webp": [
        {
            **node(6, "SaveAnimatedWEBP", ["carried/animation", 6.0, True, 80, "default"], outputs=()),
            "inputs": images(3),
        }
    ],
    "animation.png": [
        {**node(6, "SaveAnimatedPNG", ["carried/animation", 6.0, 4], outputs=()), "inputs": images(3)},
    ],
    "video.mp4": [
        {**node(6, "CreateVideo", [8], outputs=["VIDEO"]), "inputs": images(3)},
        {
            **node(7, "SaveVideo", ["carried/video", "auto", "auto"], outputs=()),
            "inputs": [{"name": "video", "type": "VIDEO", "link": 4}],
        },
    ],
    "video.webm": [
        {**node(6, "SaveWEBM", ["carried/video", "vp9", 8.0, 32], outputs=()), "inputs": images(3)},
    ],
}


@pytest.fixture
def run(server, tmp_path, capsys):
    """run(workflow's file, *settings) -> (the first file that it saved, what was said beside)."""

    def typed(file, *settings):
        output = tmp_path / "results"
        command = ["run", str(file), "--json", "--server", server.url, "--output", str(output)]
        assert main(command + [word for value in settings for word in ("--set", value)]) == 0
        said = capsys.readouterr()
        saved, *_ = json.loads(said.out)["files"]
        return Path(saved), said.err

    return typed


@pytest.fixture
def put(tmp_path):
    def write(content):
        path = tmp_path / "workflow.json"
        path.write_text(json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("name", SAVERS)
def test_an_output_carries_both_and_runs_again(run, put, object_info, name):
    saved = graph(*SAVERS[name])
    file, _ = run(put(saved), "1.color=65280")
    assert file.suffix == Path(name).suffix
    found = read_workflow(file)
    assert found.prompt["1"]["inputs"]["color"] == 65280
    assert set(found.prompt) == {"1", *(str(saver["id"]) for saver in SAVERS[name])}
    # the colour that was set stands in the graph, which is else as it was
    saved["nodes"][0]["widgets_values"][3] = 65280
    assert found.graph == json.loads(json.dumps(saved))
    again, _ = run(file)
    assert again != file
    assert read_workflow(again).graph == found.graph


def test_a_prompt_of_its_own_carries_no_graph(run, put):
    prompt = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 1}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "carried/api"}},
    }
    file, _ = run(put(prompt))
    assert read_workflow(file).graph is None
    assert read_workflow(file).prompt == prompt


def test_what_no_input_takes_is_told(run, put):
    saved = graph(*SAVERS["picture.png"])
    saved["nodes"].append(node(11, "PreviewImage", [5, "lost"], [("images", "IMAGE", 11)], outputs=()))
    saved["links"].append([11, 1, 0, 11, 0, "IMAGE"])
    _, said = run(put(saved))
    assert "node 11 (PreviewImage) has values that it has no inputs for, not used: 5, 'lost'" in said
