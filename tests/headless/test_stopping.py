"""What ends `x2v-quant run` before its time: no traceback, and no server is left behind."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
from begun_command import begun_command

from x2v_quant.headless.base_folder import sweep
from x2v_quant.headless.server import REQUIRED_NODES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to send a signal to"),
]

PATIENCE = 90  # seconds
STARTING = """
import os, time
from pathlib import Path
Path("pid").write_text(str(os.getpid()))
time.sleep(600)
"""
# takes any prompt and never ends it
RUNNING = f"""
import asyncio, os, sys
from pathlib import Path
from aiohttp import web

async def object_info(request):
    return web.json_response({{node: {{"input": {{}}}} for node in {REQUIRED_NODES!r}}})

async def stats(request):
    return web.json_response({{"system": {{"argv": sys.argv}}}})

async def follow(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        pass
    return socket

async def prompt(request):
    asyncio.get_running_loop().call_later(1, lambda: Path("pid").write_text(str(os.getpid())))
    return web.json_response({{"prompt_id": "1"}})

app = web.Application()
app.add_routes([web.get("/system_stats", stats), web.get("/object_info", object_info), web.get("/ws", follow)])
app.add_routes([web.post("/prompt", prompt), web.post("/queue", stats), web.post("/interrupt", stats)])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[sys.argv.index("--port") + 1]), shutdown_timeout=0)
"""
WORKFLOW = '{"1": {"class_type": "X2VLoadDiT", "inputs": {}}}'


def handle(ignored):
    """As a terminal starts a command: nohup and a shell's & have these ignored, for what the tests start too."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if ignored is not None:
        signal.signal(ignored, signal.SIG_IGN)


@pytest.fixture
def begun(tmp_path):
    """begun(source of main.py) -> (the command, as a shell starts it; its server), once that has written its pid."""
    made = []

    def start(source, ignored=None, wait=True):
        for folder in ("comfy", "temporary"):
            (tmp_path / folder).mkdir()
        files = {"main.py": source, "comfyui_version.py": "", "comfy/cli_args.py": '"--models-directory"'}
        for name, text in {**files, "workflow.json": WORKFLOW}.items():
            (tmp_path / name).write_text(text)
        command = begun_command(
            ["run", "workflow.json", "--cpu"],
            cwd=tmp_path,
            # a temporary folder of its own: any other command that starts meanwhile would sweep a shared one
            env={**os.environ, "COMFYUI_PATH": str(tmp_path), "TMPDIR": str(tmp_path / "temporary")},
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: handle(ignored),
        )
        made.append(command)
        deadline = time.monotonic() + PATIENCE
        while wait and not (tmp_path / "pid").exists():
            assert command.poll() is None, command.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return command, psutil.Process(int((tmp_path / "pid").read_text())) if wait else None

    yield start
    for command in made:
        command.kill()


@pytest.mark.parametrize("source", [STARTING, RUNNING], ids=["starting", "running"])
def test_ctrl_c(begun, source):
    """A terminal sends it to the server as well."""
    command, server = begun(source)
    os.killpg(command.pid, signal.SIGINT)
    _, said = command.communicate(timeout=PATIENCE)
    assert command.returncode == 130
    assert said.endswith("x2v-quant: stopped\n") and "Traceback" not in said
    assert not server.is_running()


def test_a_server_that_is_killed(begun):
    command, server = begun(RUNNING)
    server.kill()
    _, said = command.communicate(timeout=PATIENCE)
    assert command.returncode == 1
    assert "x2v-quant: the server ended before the prompt had finished; its log says why" in said
    assert "Running on http" in said  # its log


def test_sigterm(begun):
    """As `timeout` and service managers send it."""
    command, server = begun(RUNNING)
    command.terminate()
    command.communicate(timeout=PATIENCE)
    assert command.returncode == 128 + signal.SIGTERM
    assert not server.is_running()


def test_both_are_killed(begun):
    """Then the folder goes when the next command starts."""
    command, server = begun(RUNNING)
    base = base_of(server)
    server.suspend()
    command.kill()
    command.communicate(timeout=PATIENCE)
    server.kill()
    server.wait(PATIENCE)
    assert base.exists()
    sweep(base.parent)
    assert not base.exists()


def base_of(server: psutil.Process) -> Path:
    words = server.cmdline()
    return Path(words[words.index("--base-directory") + 1])


# the signal, and the status that it leaves: the first one is handled, nothing handles the others
@pytest.mark.parametrize(("number", "status"), [("SIGHUP", 129), ("SIGKILL", -9), ("SIGQUIT", -3)])
@pytest.mark.parametrize("source", [STARTING, RUNNING], ids=["starting", "running"])
def test_the_command_alone_is_ended(begun, source, number, status):
    """As a terminal that is closed, or a system without memory, does it: the server and its folder go with it."""
    command, server = begun(source)
    base = base_of(server)
    command.send_signal(getattr(signal, number))
    command.communicate(timeout=PATIENCE)
    assert command.returncode == status
    server.wait(PATIENCE)
    assert not base.exists()


def test_nohup(begun, tmp_path):
    """What the starter has ignored stays ignored."""
    command, server = begun(RUNNING, signal.SIGHUP)
    command.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        command.wait(1)
    assert server.is_running()
    command.terminate()
    command.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("seconds", [0, 1.0, 2.0])
def test_ctrl_c_at_any_time(begun, seconds, tmp_path):
    """Of the command alone: while it imports, while its server starts, and after."""
    command, _ = begun(STARTING, wait=False)
    time.sleep(seconds)
    command.send_signal(signal.SIGINT)
    _, said = command.communicate(timeout=PATIENCE)
    assert (command.returncode, said) == (130, "x2v-quant: stopped\n")
    if (tmp_path / "pid").exists():
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int((tmp_path / "pid").read_text())).wait(PATIENCE)
