"""A server that lies, sends without end or sends elsewhere: a sentence, in time, and nothing is harmed."""

import asyncio
import io
import json
import time

import pytest
from aiohttp import web
from fake_comfyui import PROMPT, FakeComfyUI, running

from x2v_quant.cli import main
from x2v_quant.common import limits
from x2v_quant.headless.address import shown
from x2v_quant.headless.client import Client, LateError, ServerError, SilentError

FILE = {"filename": "a.png", "subfolder": "", "type": "output"}
SECRET = "hunter2"
ASKS = {
    "object_info": ("/object_info", lambda client: client.object_info()),
    "stats": ("/system_stats", lambda client: client.system_stats()),
    "history": ("/history/x", lambda client: client.history("x")),
    "prompt": ("/prompt", lambda client: client.submit(PROMPT)),
    "view": ("/view", lambda client: client.view(FILE)),
    "download": ("/view", lambda client: client.download(FILE, io.BytesIO())),
    "websocket": ("/ws", lambda client: client.run(PROMPT)),
}


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(limits, "ANSWER_SECONDS", 0.8)
    with running(FakeComfyUI()) as served:
        yield served


def redirect(place, status=307):
    async def answer(request):
        return web.Response(status=status, headers={"Location": place})

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ASKS)
def test_a_redirect_is_not_followed(name, status, fake):
    path, ask = ASKS[name]
    with running(FakeComfyUI()) as other:
        fake.answers[path] = redirect(f"{other.url}{path}?token={SECRET}", status)
        with pytest.raises(ServerError) as refused:
            ask(Client(fake.url))
        assert other.seen == []
        told = f"{fake.url} sends on to {other.url}{path} ({status}), which is not followed: give --server the address"
        assert told in str(refused.value)
    assert SECRET not in str(refused.value)


async def endless(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"[" * 100_000)


async def dripping(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"[")
        await asyncio.sleep(0.05)


async def hanging(request):
    await asyncio.sleep(20)


@pytest.mark.parametrize("name", [name for name in ASKS if name != "websocket"])
def test_an_answer_without_end(name, fake, monkeypatch):
    monkeypatch.setattr(limits, "ANSWER_BYTES", 1_000_000)
    monkeypatch.setattr(limits, "FILE_BYTES", 1_000_000)
    path, ask = ASKS[name]
    fake.answers[path] = endless
    with pytest.raises(ServerError, match=r"sends more than 1\.00 MB for (GET|POST) /.*: not taken"):
        ask(Client(fake.url))


@pytest.mark.parametrize("answer", [dripping, hanging])
@pytest.mark.parametrize("name", ["object_info", "history", "prompt"])
def test_an_answer_that_takes_for_ever(name, answer, fake):
    path, ask = ASKS[name]
    fake.answers[path] = answer
    began = time.monotonic()
    with pytest.raises(LateError, match=r"did not answer (GET|POST) /.* within 0\.8 s"):
        ask(Client(fake.url))
    assert time.monotonic() - began < 5


def test_a_file_that_stops_coming(fake):
    async def stops(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"x")
        await asyncio.sleep(20)

    fake.answers["/view"] = stops
    with pytest.raises(SilentError):
        Client(fake.url).download(FILE, io.BytesIO())


@pytest.mark.parametrize("message", [b"x" * 200_000, "x" * 200_000], ids=["binary", "text"])
def test_a_message_that_is_too_long(message, fake, monkeypatch):
    monkeypatch.setattr(limits, "MESSAGE_BYTES", 100_000)
    monkeypatch.setattr(limits, "RECONNECT_SECONDS", 0.1)

    async def long(socket):
        await fake.queued()
        fake.end()
        await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_str(message))
        await asyncio.sleep(20)

    fake.follow = long
    assert Client(fake.url).run(PROMPT).outputs


async def deep(request):
    return web.Response(text="[" * 200_000 + "]" * 200_000, content_type="application/json")


@pytest.mark.parametrize("answer", [[], "text", 7, None, deep], ids=["list", "text", "number", "null", "deep"])
@pytest.mark.parametrize("name", ["object_info", "stats", "history", "prompt"])
def test_json_of_another_shape(name, answer, fake):
    async def text(request):
        return web.Response(text=json.dumps(answer))

    path, ask = ASKS[name]
    fake.answers[path] = deep if answer is deep else text
    with pytest.raises(ServerError, match=f"{fake.url} is no ComfyUI: "):
        ask(Client(fake.url))


@pytest.mark.parametrize("answer", [{}, {"X": []}, {"X": {}}, {"X": {"input": []}}, {"X": None}])
def test_a_list_without_nodes(answer, fake):
    fake.answers["/object_info"] = answer
    with pytest.raises(ServerError, match=f"{fake.url} is no ComfyUI: it lists no nodes"):
        Client(fake.url).object_info()


@pytest.mark.parametrize(
    "errors",
    [
        {"node_errors": []},
        {"node_errors": {"1": None}},
        {"node_errors": {"1": {"errors": [None, 7, {"message": []}]}}},
        {"error": []},
        {"error": {"message": ["x"]}},
        {"error": "x" * 100_000},
        {"node_errors": {str(number): {"errors": [{}]} for number in range(5000)}},
    ],
    ids=range(7),
)
def test_a_refusal_in_any_shape(errors, fake):
    async def refuse(request):
        return web.json_response(errors, status=400)

    fake.answers["/prompt"] = refuse
    with pytest.raises(ServerError, match="the server refused") as refused:
        Client(fake.url).submit(PROMPT)
    assert len(str(refused.value)) < 10_000


def test_what_a_server_says_cannot_forge_a_line(fake):
    words = {"message": "no\nproblems: none\x1b[2J", "details": "\u202eevil"}

    async def refuse(request):
        return web.json_response({"node_errors": {"1\n2": {"class_type": "A\rB", "errors": [words]}}}, status=400)

    fake.answers["/prompt"] = refuse
    with pytest.raises(ServerError) as refused:
        Client(fake.url).submit(PROMPT)
    assert str(refused.value).split("\n")[1:] == [r"node 1\n2 (A\rB): no\nproblems: none\x1b[2J: \u202eevil"]


@pytest.mark.parametrize(
    "address",
    [
        "http://user:{}@127.0.0.1:9",
        "http://user:{}@[::1:9",
        "user:{}@127.0.0.1:9",
        "HTTP://{}@127.0.0.1:9/",
        "http://u:a/{}@127.0.0.1:9",
        "http://u:a@{}@127.0.0.1:9",
        "http://127.0.0.1:9?token={}",
        "http://u:{}@127.0.0.1:port",
        "ftp://u:{}@127.0.0.1",
    ],
)
def test_no_secret_of_an_address_is_told(address, workflow, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(workflow), "--server", address.format(SECRET), "--output", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert stopped.value.code == 1
    assert SECRET not in said.err + said.out
    assert "No ComfyUI answers at " in said.err


@pytest.mark.slow
def test_nor_in_any_other_error(fake):
    async def html(request):
        return web.Response(text="<html>")

    url = fake.url.replace("http://", f"http://user:{SECRET}@")
    for answer in (html, hanging, redirect("/elsewhere")):
        for path, ask in ASKS.values():
            fake.answers = {path: answer}
            with pytest.raises(ServerError) as refused:
                ask(Client(url))
                raise ServerError("a file has no shape")
            assert SECRET not in str(refused.value)
            assert SECRET not in repr(refused.value.__cause__)


def test_name_and_password_are_given(fake):
    given = []

    async def stats(request):
        given.append(request.headers["Authorization"])
        return web.json_response({})

    fake.answers["/system_stats"] = stats
    Client(fake.url.replace("http://", "http://user:p%40ss@")).system_stats()
    assert given == ["Basic dXNlcjpwQHNz"]


def test_what_is_shown_of_an_address():
    assert shown("http://127.0.0.1:8188") == "http://127.0.0.1:8188"


def test_a_slow_server_is_waited_for_and_that_is_said(fake, workflow, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(limits, "SLOW_SECONDS", 0.1)

    async def slow(request):
        await asyncio.sleep(0.4)
        return web.json_response({"system": {}})

    fake.answers |= {"/system_stats": slow, "/object_info": {"Save": {"input": {}, "output": []}}}
    assert main(["run", str(workflow), "--server", fake.url, "--output", str(tmp_path / "out")]) == 0
    assert f"{fake.url} is slow: waiting up to 0.8 s for an answer" in capsys.readouterr().err


def test_a_server_that_never_answers_is_told_apart(fake, workflow, tmp_path, capsys):
    fake.answers["/system_stats"] = hanging
    with pytest.raises(SystemExit):
        main(["run", str(workflow), "--server", fake.url, "--output", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert "did not answer GET /system_stats within 0.8 s. It is busy, or no ComfyUI" in said
