"""What ends `x2v-quant run` before its time: no traceback, and no server is left behind."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from x2v_quant.headless.server import REQUIRED_NODES

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to send a signal to")

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
    return web.json_response({{node: {{}} for node in {REQUIRED_NODES!r}}})

async def stats(request):
    return web.json_response({{}})

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


@pytest.fixture
def begun(tmp_path):
    """begun(source of main.py) -> (the command, as a shell starts it; its server), once that has written its pid."""
    made = []

    def start(source):
        (tmp_path / "comfy").mkdir()
        files = {"main.py": source, "comfyui_version.py": "", "comfy/cli_args.py": '"--models-directory"'}
        for name, text in {**files, "workflow.json": WORKFLOW}.items():
            (tmp_path / name).write_text(text)
        command = subprocess.Popen(
            [sys.executable, "-m", "x2v_quant.cli", "run", "workflow.json"],
            cwd=tmp_path,
            env={**os.environ, "COMFYUI_PATH": str(tmp_path)},
            start_new_session=True,
            stderr=subprocess.PIPE,
            text=True,
            # a shell that runs tests in the background has it ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        made.append(command)
        deadline = time.monotonic() + PATIENCE
        while not (tmp_path / "pid").exists():
            assert command.poll() is None, command.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return command, psutil.Process(int((tmp_path / "pid").read_text()))

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
    assert "x2v-quant: the server closed the connection before the prompt had finished; its log says why" in said
    assert "Running on http" in said  # its log


def test_sigterm(begun):
    """As `timeout` and service managers send it."""
    command, server = begun(RUNNING)
    command.terminate()
    command.communicate(timeout=PATIENCE)
    assert command.returncode == 128 + signal.SIGTERM
    assert not server.is_running()
