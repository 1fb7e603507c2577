"""Every command in the surroundings that a shell can give it: nobody reads, nothing is open, a terminal without a width
and with few characters, Ctrl-C. None of them ends in a traceback."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
from begun_command import begun_command
from fake_comfyui import FakeComfyUI, running
from saved_workflows import loader, workflow

from x2v_quant.cli.commands import COMMANDS
from x2v_quant.cli.parser import EXITS
from x2v_quant.demo import assets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has no such terminals, pipes and signals"),
]

PATIENCE = 120  # seconds
PROMPT = {"1": {"class_type": "Save", "inputs": {}}}
SMALL = "--size 64 64 --steps 2 --frames 1"
OK, NO, UNREAD, STOPPED = 0, 1, 141, 130
# command -> what is typed; fidelity takes minutes, but for a mistake
TYPED = {
    "": "",
    "inspect": "inspect {model}",
    "convert": "convert {model} out.safetensors",
    "compare": f"compare {{model}} {{other}} {SMALL}",
    "doctor": "doctor",
    "advise": "advise wan2.1-t2v-1.3b --gpu 4090",
    "schemes": "schemes",
    "run": "run \u91cf\u5316.json --server {server}",
    "swap": "swap \u91cf\u5316.json -o out.json",
    "bench": "bench --kernels --quick",
    "fidelity": "fidelity --cases 0",
    "demo-models": "demo-models models",
}
USUAL = {"fidelity": NO}
every_command = pytest.mark.parametrize("command", TYPED)


@pytest.fixture(scope="module")
def server():
    fake = FakeComfyUI()
    fake.answers["/object_info"] = {"Save": {"input": {}}}
    with running(fake):
        yield fake.url


def typed(words, before=(), **options):
    return subprocess.Popen([*before, sys.executable, "-m", "x2v_quant", *words], **options)


@pytest.fixture
def begin(server, demo_models, tmp_path):
    """begin(command, what opens it, **options of Popen) -> the process, in a folder of its own; Ctrl-C reaches it."""
    (tmp_path / "models").mkdir()
    saved = workflow(loader(3, "UNETLoader", ["wan2.1_\u91cf.safetensors", "default"]))

    def start(command, open_process=typed, **options):
        content = saved if command == "swap" else PROMPT
        (tmp_path / "\u91cf\u5316.json").write_text(json.dumps(content), encoding="utf-8")
        files = {kind: demo_models / assets.FOLDERS["t2v"] / assets.names(kind).t2v for kind in ("bf16", "int8")}
        words = TYPED[command].format(model=files["bf16"], other=files["int8"], server=server).split()
        return open_process(
            words,
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            **options,
        )

    return start


def test_every_command_is_here():
    assert set(TYPED) - {""} == {command.name for command in COMMANDS}
    assert {OK, NO, UNREAD, STOPPED} < {status for status, _ in EXITS}


@every_command
def test_nobody_reads(command, begin):
    reading, writing = os.pipe()
    os.close(reading)
    process = begin(command, stdout=writing, stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    os.close(writing)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == USUAL.get(command, UNREAD)
    assert "Traceback" not in said and "Exception ignored" not in said


@every_command
def test_nothing_is_open(command, begin):
    process = begin(command, before=["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"])
    assert process.wait(PATIENCE) == USUAL.get(command, OK)


@every_command
def test_a_terminal_without_a_width_and_with_few_characters(command, begin):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "TERM": "dumb"}
    environment.pop("COLUMNS", None)
    ours, theirs = os.openpty()
    process = begin(command, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    with closing(os.fdopen(ours, "rb", buffering=0)) as terminal:
        said = b"".join(iter(lambda: _read(terminal), b"")).decode("ascii")
    assert process.wait(PATIENCE) == USUAL.get(command, OK)
    assert "Traceback" not in said and said.strip()


def _read(terminal) -> bytes:
    """What the terminal shows next, nothing at its end."""
    try:
        return terminal.read(4096)
    except OSError:  # Linux says of the end that it is an error
        return b""


@pytest.mark.parametrize("seconds", [0, 1.2])
@every_command
def test_ctrl_c(command, begin, seconds):
    process = begin(command, begun_command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    report, said = process.communicate(timeout=PATIENCE)
    # Python may end itself by the signal, of which a shell says the same
    status = STOPPED if process.returncode == -signal.SIGINT else process.returncode
    assert status in (STOPPED, USUAL.get(command, OK))
    assert b"Traceback" not in said
    assert status != STOPPED or b"stopped" in said or b"interrupted" in said or report
