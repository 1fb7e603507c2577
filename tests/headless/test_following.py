"""A prompt comes to its end whatever becomes of the connection, or it is said where it is."""

import asyncio
import json
import time

import pytest
from aiohttp import web
from fake_comfyui import FINISHED, OUTPUTS, PROMPT, FakeComfyUI, running

from x2v_quant.common import limits
from x2v_quant.headless.client import Client, ServerError
from x2v_quant.headless.following import read

QUICK = {
    "POLL_SECONDS": 0.2,
    "POLL_ANSWER_SECONDS": 0.3,
    "LOST_SECONDS": 1,
    "RECONNECT_SECONDS": 0.1,
    "HEARTBEAT_SECONDS": 0.4,
    "ANSWER_SECONDS": 2,
    "CANCEL_SECONDS": 0.3,
}


@pytest.fixture
def fake(monkeypatch):
    for name, seconds in QUICK.items():
        monkeypatch.setattr(limits, name, seconds)
    with running(FakeComfyUI()) as served:
        yield served


def test_a_prompt_that_goes_well(fake):
    began = time.monotonic()
    assert Client(fake.url).run(PROMPT).outputs == OUTPUTS
    assert time.monotonic() - began < 5
    assert ("GET", "/queue") not in fake.seen


def test_a_websocket_that_is_cut_is_opened_again(fake):
    events = []

    async def cut(socket):
        await fake.queued()
        if len([path for _, path in fake.seen if path == "/ws"]) < 3:
            return
        data = {"node": "1", "prompt_id": fake.prompt_id, "value": 1, "max": 2}
        await socket.send_json({"type": "progress", "data": data})
        await asyncio.sleep(0.5)
        fake.end()

    fake.follow = cut
    assert Client(fake.url).run(PROMPT, events.append).outputs == OUTPUTS
    assert [event.type for event in events] == ["progress"]


def test_a_websocket_that_stays_open_and_says_nothing(fake):
    """The history has the end."""

    async def silence(socket):
        await fake.queued()
        await asyncio.sleep(0.5)
        fake.end()
        await asyncio.sleep(20)

    fake.follow = silence
    began = time.monotonic()
    assert Client(fake.url).run(PROMPT).outputs == OUTPUTS
    assert time.monotonic() - began < 5


def test_a_failure_is_told_though_nobody_heard_of_it(fake):
    data = {"node_id": "1", "node_type": "Save", "exception_type": "ValueError", "exception_message": "no disk"}
    record = {"outputs": {}, "status": {"status_str": "error", "messages": [["execution_error", data]]}}

    async def silence(socket):
        await fake.queued()
        fake.answers[f"/history/{fake.prompt_id}"] = {fake.prompt_id: record}
        await asyncio.sleep(20)

    fake.follow = silence
    with pytest.raises(ServerError, match=r"node 1 \(Save\) failed: no disk"):
        Client(fake.url).run(PROMPT)


def test_a_network_that_falls_silent_is_told_and_given_up(fake):
    told = []

    async def hang(request):
        await asyncio.sleep(20)

    async def silence(socket):
        await fake.queued()
        fake.answers |= {"/queue": hang, "/ws": hang, f"/history/{fake.prompt_id}": hang}

    fake.follow = silence
    began = time.monotonic()
    with pytest.raises(ServerError) as stopped:
        Client(fake.url).run(PROMPT, say=told.append)
    assert time.monotonic() - began < 8
    (line,) = told
    assert fake.prompt_id in line and "trying again for 1 s" in line
    assert f"{fake.url}/history/{fake.prompt_id} says what was saved" in str(stopped.value)


def test_a_network_that_comes_back(fake):
    told = []

    async def away(request):
        if not told:
            return fake_gateway()
        del fake.answers["/ws"]
        fake.end()
        return fake_gateway()

    async def silence(socket):
        await fake.queued()
        fake.answers |= {"/queue": away, "/ws": away}

    fake.follow = silence
    assert Client(fake.url).run(PROMPT, say=told.append).outputs == OUTPUTS
    assert len(told) == 1


def fake_gateway():
    return web.Response(status=502, text="<html>Bad Gateway</html>")


def test_a_server_that_was_started_anew(fake):
    async def forget(socket):
        await fake.queued()
        fake.running.clear()

    fake.follow = forget
    with pytest.raises(ServerError, match=r"no longer knows prompt .*: it was taken back there, or"):
        Client(fake.url).run(PROMPT)


def test_a_server_whose_process_has_ended(fake):
    async def die(socket):
        await fake.queued()
        fake.answers |= {"/queue": gone, f"/history/{fake.prompt_id}": gone}

    async def gone(request):
        return fake_gateway()

    fake.follow = die
    with pytest.raises(ServerError, match="the server ended before the prompt had finished; its log says why"):
        Client(fake.url, lambda: False).run(PROMPT)


def test_messages_without_end_do_not_hide_the_end(fake):
    async def flood(socket):
        await fake.queued()
        fake.end()
        text = json.dumps({"type": "status", "data": {"x": "y" * 1000}})
        for _ in range(10_000):
            await socket.send_str(text)
        await asyncio.sleep(20)

    fake.follow = flood
    assert Client(fake.url).run(PROMPT).outputs == OUTPUTS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[]",
        "null",
        "{}",
        '{"type": "progress"}',
        '{"type": 1, "data": {"prompt_id": "p"}}',
        '{"type": "progress", "data": ["prompt_id"]}',
        '{"type": "progress", "data": {"prompt_id": "q"}}',
        "[" * 100_000,
        '{"type": "a", "data": {"prompt_id": ' + "9" * 5000 + "}}",
    ],
    ids=range(11),
)
def test_what_is_no_event_of_the_prompt(text):
    assert read(text, "p") is None


@pytest.mark.parametrize(
    "record",
    [
        {"status": FINISHED["status"]},
        {"outputs": []},
        {"outputs": {"1": []}},
        {"outputs": None, "status": {"messages": [["execution_error"]]}},
    ],
)
def test_a_record_without_outputs(fake, record):
    async def finish(socket):
        await fake.queued()
        fake.answers[f"/history/{fake.prompt_id}"] = {fake.prompt_id: record}
        await asyncio.sleep(20)

    fake.follow = finish
    with pytest.raises(ServerError, match="the server's history has no outputs of the prompt: it is no ComfyUI"):
        Client(fake.url).run(PROMPT)
