"""A server whose answers have another shape than ComfyUI's, forge lines or never end, and folders that are none."""

import pytest
from aiohttp import web
from fake_comfyui import PROMPT, FakeComfyUI, running

from x2v_quant.cli import main
from x2v_quant.common import limits
from x2v_quant.headless.client import Client, ServerError
from x2v_quant.headless.following import outputs


@pytest.fixture
def fake():
    with running(FakeComfyUI()) as served:
        yield served


def test_what_a_node_says_forges_no_line(fake):
    words = {"node_id": "1\nx", "exception_type": "E\nx", "exception_message": "no\nx2v-quant: all is well\x1b[2J"}
    fake.answers["/history/x"] = {"x": {"status": {"messages": [["execution_error", words]]}}}
    with pytest.raises(ServerError) as failed:
        outputs(Client(fake.url).record("x"))
    assert str(failed.value).split("\n") == [
        r"node 1\nx () failed: no",
        r"  x2v-quant: all is well\x1b[2J",
    ]


@pytest.mark.parametrize("queued", ["1\nproblem: none", "../../view", "a b", "x" * 1000, "", 7, None, ["1"]])
def test_an_id_that_is_none(queued, fake):
    fake.answers["/prompt"] = {"prompt_id": queued}
    with pytest.raises(ServerError, match="it took a prompt without giving it an id"):
        Client(fake.url).submit(PROMPT)


async def no_http(request):
    request.transport.write(b"HTTP/1.1 abc\nproblem: none\x1b[2J\r\nno header\n\r\n\r\n")
    request.transport.close()
    return web.Response()


async def worded(request):
    return web.Response(status=400, text="no\nproblem: none\x1b[2J")


@pytest.mark.parametrize("answer", [no_http, worded])
def test_an_error_of_the_transport_is_one_line(answer, fake):
    fake.answers["/free"] = answer
    with pytest.raises(ServerError) as refused:
        Client(fake.url).free()
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("record", [[1], "x", 7, True])
def test_a_record_that_is_no_table(record, fake):
    fake.answers["/history/x"] = {"x": record}
    with pytest.raises(ServerError, match=f"{fake.url} is no ComfyUI: its record of a prompt is no table"):
        Client(fake.url).history("x")


@pytest.mark.parametrize("queue", [7, "x", {"a": 1}, [7, None, [], ["x"], [1, {}]], True])
def test_a_queue_of_another_shape(queue, fake):
    fake.answers["/queue"] = {"queue_running": queue, "queue_pending": queue}
    with pytest.raises(ServerError, match="no longer knows prompt x"):
        Client(fake.url).record("x")


def saved(*names):
    return {"1": {"images": [{"filename": name, "subfolder": "", "type": "output"} for name in names]}}


def fetched_by_run(fake, workflow, tmp_path, outputs, *more):
    async def history(request):
        return web.json_response({fake.prompt_id: {"outputs": outputs}} if fake.finished else {})

    async def usual(request):
        return await (history if request.path.startswith("/history/") else type(fake)._usual.__get__(fake))(request)

    fake._usual = usual
    fake.answers["/object_info"] = {
        "Save": {"input": {"required": {"image": [["a"], {"image_upload": True}]}}, "output": []}
    }
    assert main(["run", str(workflow), "--server", fake.url, "--output", str(tmp_path / "out"), *more]) == 0


def test_a_file_that_is_listed_again_and_again_is_fetched_once(fake, workflow, tmp_path):
    fetched_by_run(fake, workflow, tmp_path, saved(*["a.png"] * 1000, "b.png"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.png"}


def test_files_beyond_the_limit_are_told(fake, workflow, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(limits, "FILES", 2)
    fetched_by_run(fake, workflow, tmp_path, saved(*"abcde"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a", "b"}
    assert "x2v-quant: 5 files were saved; only the first 2 are listed and fetched" in capsys.readouterr().err


def test_a_value_longer_than_any_path_is_a_value(fake, workflow, tmp_path):
    fetched_by_run(fake, workflow, tmp_path, {}, "--set", f"1.image={'x' * 5000}")


@pytest.mark.parametrize("option", ["--models", "--input", "--pack"])
def test_a_folder_that_is_not_there(option, workflow, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["run", str(workflow), "--output", str(tmp_path / "out"), option, "nowhere"])
    assert "x2v-quant: There is no folder nowhere. Check the path." in capsys.readouterr().err


@pytest.mark.parametrize("name", ["CON", "a:b", "a.", "x" * 300])
def test_an_output_folder_of_such_a_name(name, workflow, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["run", str(workflow), "--output", str(tmp_path / name)])
    assert f"x2v-quant: {name!r} is not a name for a file: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [workflow]
