"""x2v-quant run as a shell calls it: the files it saves, what it says, and its exit status."""

import json
import signal
import time

import pytest
from PIL import Image

from x2v_quant.cli import main
from x2v_quant.common.sizes import amount
from x2v_quant.demo.graph import TEMPLATES, WORKFLOWS, prompt, settings
from x2v_quant.demo.prompts import DEFAULT
from x2v_quant.demo.video import START_IMAGE, START_SEED, start_image

pytestmark = pytest.mark.slow

DEMO = WORKFLOWS / f"{TEMPLATES['t2v']}.json"
QUICK = ("KSampler.steps=1", "SaveVideo.filename_prefix=run/quick")


def set_all(values):
    return [word for value in values for word in ("--set", value)]


@pytest.fixture
def x2v_run(server, tmp_path, capsys):
    """x2v_run(workflow, *settings) -> (exit status, standard output, standard error) on the tests' server."""

    def run(workflow, *values, server=server.url):
        try:
            status = main(
                ["run", str(workflow), "--json", "--server", server, "--output", str(tmp_path), *set_all(values)]
            )
        except SystemExit as ended:
            status = ended.code
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_template_runs_and_its_video_is_fetched(x2v_run, server, tmp_path):
    status, out, _ = x2v_run(DEMO, *QUICK)
    assert status == 0
    report = json.loads(out)
    (file,) = report["files"]
    assert file == str(tmp_path / "run" / "quick_00001_.mp4")
    written = server.base / "output" / "run" / "quick_00001_.mp4"
    assert (tmp_path / "run" / "quick_00001_.mp4").read_bytes() == written.read_bytes()
    assert any("int8-channel" in text for texts in report["texts"].values() for text in texts)


def test_a_file_that_is_there_stays(x2v_run, tmp_path):
    first, second = ("SaveImage.filename_prefix=run/twice", "SaveImage.filename_prefix=run/twice")
    place = tmp_path / "run" / "twice_00001_.png"
    place.parent.mkdir()
    place.write_bytes(b"mine")
    workflow = tmp_path / "picture.json"
    workflow.write_text(
        json.dumps(
            {
                "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "other"}},
            }
        )
    )
    report = json.loads(x2v_run(workflow, first)[1])
    assert report["files"] == [str(tmp_path / "run" / "twice_00001_-2.png")]
    assert place.read_bytes() == b"mine"
    with Image.open(report["files"][0]) as picture:
        assert picture.getpixel((0, 0)) == (0, 0, 255)
    report = json.loads(x2v_run(workflow, second, "EmptyImage.color=65280")[1])
    with Image.open(report["files"][0]) as picture:
        assert picture.getpixel((0, 0)) == (0, 255, 0)


def test_a_picture_of_this_machine_is_uploaded(x2v_run, object_info, server, tmp_path):
    picture = tmp_path / "another name.png"
    start_image(DEFAULT, START_SEED + 1).save(picture)
    saved = tmp_path / "api.json"
    saved.write_text(json.dumps(prompt("int8", "i2v", object_info, {"KSampler.steps": 1}, START_IMAGE)))
    assert picture.name != START_IMAGE
    assert x2v_run(saved, f"LoadImage.image={picture}")[0] == 0
    assert (server.base / "input" / picture.name).read_bytes() == picture.read_bytes()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["KSamplr.seed=7"], "KSamplr.seed: no node of this workflow has that id, title or class. Did you mean 'KSamp"),
        (["KSampler.sed=7"], "has no input 'sed'"),
        (["KSampler.seed=first"], "KSampler.seed=first: the input takes a whole number"),
        (["KSampler.sampler_name=eurel"], "(KSampler): sampler_name has no 'eurel' here."),
    ],
)
def test_a_wrong_setting_is_refused(x2v_run, values, said):
    status, out, err = x2v_run(DEMO, *values)
    assert status == 1
    assert said in err
    assert not out


def test_a_node_that_fails_ends_the_command_with_its_sentence(x2v_run, server):
    broken = server.base / "models" / "diffusion_models" / "broken_download.safetensors"
    broken.write_bytes(b'\x08\0\0\0\0\0\0\0{"a":')
    try:
        status, _, err = x2v_run(DEMO, f"X2VLoadDiT.model_name={broken.name}")
    finally:
        broken.unlink()
    assert status == 1
    assert "(X2VLoadDiT): " in err
    assert broken.name in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be read: No such file or directory. Check the path."),
        ("{", "is not JSON"),
        ("[]", "has no workflow: save it in ComfyUI, or export it for the API."),
        ('{"version": 1}', "has no workflow"),
        ('{"1": {"class_type": "EmptyImage"}}', "has no workflow"),
        ('{"1": {"type": "EmptyImage", "inputs": {}}}', "has no workflow"),
        ('{"nodes": [{"id": 1, "type": "EmptyImage"}]}', "has no workflow"),
        ('{"nodes": [{"type": "EmptyImage"}], "links": []}', "has no workflow"),
        ('{"nodes": {"id": 1}, "links": []}', "has no workflow"),
        ('{"1": {"class_type": "X2VLoadDit", "inputs": {}}}', "Did you mean 'X2VLoadDiT'"),
    ],
)
def test_what_is_no_workflow_is_refused(x2v_run, tmp_path, text, said):
    file = tmp_path / "workflow.json"
    if text is not None:
        file.write_text(text)
    status, _, err = x2v_run(file)
    assert status == 1
    assert said in err
    assert file.name in err or "X2VLoadDit" in err


@pytest.fixture
def ctrl_c():
    """The key works, although a shell that starts tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_takes_the_prompt_back(server, graph):
    prompt, ids = graph()
    prompt[ids["KSampler"]]["inputs"] |= {"steps": 10_000, "seed": 4321}

    pressed = []

    def on_event(event):
        # once: not every step is told of
        if event.type == "progress" and not pressed:
            pressed.append(event)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        server.client.run(prompt, on_event)
    deadline = time.monotonic() + 60
    while server.client.get("/queue")["queue_running"]:
        assert time.monotonic() < deadline, "the prompt still runs"
        time.sleep(0.1)
    last = list(server.client.get("/history").values())[-1]
    assert last["prompt"][2][ids["KSampler"]]["inputs"]["seed"] == 4321
    assert "execution_interrupted" in [name for name, _ in last["status"]["messages"]]


def test_no_server_there(x2v_run):
    status, _, err = x2v_run(DEMO, server="http://127.0.0.1:9")
    assert status == 1
    assert "No ComfyUI answers at http://127.0.0.1:9. Start it, or leave --server out." in err
    status, _, err = x2v_run(DEMO, server="localhost:8188")
    assert status == 1
    assert "answers at localhost:8188. " in err and "Addresses are like http://127.0.0.1:8188." in err


def test_an_output_folder_that_cannot_be_made(server, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as ended:
        main(["run", str(DEMO), "--server", server.url, "--output", str(file)])
    assert ended.value.code == 1
    assert f"{file} is there already and is no folder. Choose another one." in capsys.readouterr().err


def test_it_starts_a_server_of_its_own_and_leaves_nothing_else_behind(demo_models, comfyui, tmp_path, capsys):
    before = sorted(path.name for path in comfyui.iterdir()), sorted((comfyui / "custom_nodes").iterdir())
    output = tmp_path / "new" / "results"
    chosen = {**settings("int8", "t2v"), "KSampler.steps": 1}
    values = [f"{place}={value}" for place, value in chosen.items()]
    command = ["run", str(DEMO), "--cpu", "--models", str(demo_models), "--output", str(output), *set_all(values)]
    assert main(command) == 0
    (video,) = output.rglob("*.mp4")
    out = capsys.readouterr().out
    assert f"{video}, {amount(video.stat().st_size)}" in out.splitlines()
    assert "int8-channel" in out
    assert (sorted(path.name for path in comfyui.iterdir()), sorted((comfyui / "custom_nodes").iterdir())) == before
