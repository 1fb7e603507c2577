"""How commands end before their time, as a shell sees it: real processes, pipes and signals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from begun_command import begun_command
from safetensors.torch import save_file

from x2v_quant.cli import main

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals and pipes")
COMMAND = [sys.executable, "-m", "x2v_quant"]
PATIENCE = 60  # seconds
TENSORS = 3000  # whose names are more than a pipe holds
SWALLOWS = """
import time
from x2v_quant.common import ending

with ending.in_time("x2v-quant", 0.5):
    for said in ("begun", "went on"):
        try:
            print(said, flush=True)
            time.sleep(30)
        except KeyboardInterrupt:
            pass
"""
# as a library's own end, which may take a second
ENDS_SLOWLY = """
import atexit, time
from x2v_quant.common import ending

atexit.register(lambda: (print("the end", flush=True), time.sleep(30)))
with ending.quiet("x2v-quant", program=True):
    pass
"""


def take_ctrl_c():
    """A shell that runs tests in the background has Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def begin(arguments, **options):
    return subprocess.Popen(
        arguments,
        stderr=subprocess.PIPE,
        preexec_fn=take_ctrl_c if os.name == "posix" else None,
        **options,
    )


def ended(process):
    """(exit status, what it said)."""
    said = process.stderr.read().decode()
    return process.wait(PATIENCE), said


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A file of which there is more to say than a pipe holds."""
    file = tmp_path_factory.mktemp("many") / "many.safetensors"
    save_file({f"some_layer_{number}_of_many.weight": torch.zeros(1) for number in range(TENSORS)}, file)
    return file


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("more", [[], ["--json"]], ids=["words", "json"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away(many, more, unbuffered):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    command = begin([*COMMAND, "inspect", str(many), *more], stdout=subprocess.PIPE, env=environment)
    assert command.stdout.read(100)
    command.stdout.close()
    assert ended(command) == (141, "")


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("words,status", [("schemes", 141), ("--help", 0), ("nothing", 2)])
def test_a_reader_that_has_gone_before(words, status):
    """What argparse says by itself it drops by itself."""
    reading, writing = os.pipe()
    os.close(reading)
    command = subprocess.Popen([*COMMAND, words], stdout=writing, stderr=writing)
    os.close(writing)
    assert command.wait(PATIENCE) in (141, status)


@pytest.mark.slow
@POSIX
def test_a_report_without_room():
    with open("/dev/full", "w") as full:
        command = begin([*COMMAND, "schemes"], stdout=full)
        assert ended(command) == (1, "x2v-quant: the report cannot be written: No space left on device\n")


@pytest.mark.slow
@POSIX
def test_no_output_at_all():
    command = begin(["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, "schemes"])
    assert ended(command) == (0, "")


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("seconds", [0, 0.3, 0.8])
def test_ctrl_c_while_libraries_are_imported(seconds, many):
    command = begun_command(
        ["inspect", str(many)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=take_ctrl_c
    )
    time.sleep(seconds)
    command.send_signal(signal.SIGINT)
    status, said = ended(command)
    assert (status, said) in ((130, "x2v-quant: stopped\n"), (0, ""))


@POSIX
def test_ctrl_c_that_a_library_swallows():
    command = begin([sys.executable, "-c", SWALLOWS], stdout=subprocess.PIPE)
    assert command.stdout.readline() == b"begun\n"
    command.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert ended(command) == (130, "x2v-quant: stopped\n")
    assert time.monotonic() - began < 10


@POSIX
def test_ctrl_c_while_python_ends():
    command = begin([sys.executable, "-c", ENDS_SLOWLY], stdout=subprocess.PIPE)
    assert command.stdout.readline() == b"the end\n"
    command.send_signal(signal.SIGINT)
    assert ended(command) == (130, "x2v-quant: stopped\n")


@POSIX
def test_ctrl_c_that_the_starter_has_ignored():
    """As a shell does for what it runs in the background."""
    command = subprocess.Popen(
        [sys.executable, "-c", "from x2v_quant.common import ending\nwith ending.in_time('x'): print(input())"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    time.sleep(0.5)
    command.send_signal(signal.SIGINT)
    assert command.communicate(b"went on\n", PATIENCE)[0] == b"went on\n"


@pytest.mark.parametrize("name", ["a\nproblems: none", "\x1b[2J\x1b[Ha", "\u202egnp.a", "a\u2028b"])
def test_a_name_neither_forges_a_line_nor_moves_a_cursor(name, tmp_path, capsys):
    file = tmp_path / "model.safetensors"
    save_file({f"{name}.weight": torch.zeros(1)}, file)
    main(["inspect", str(file)])
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.split("\n"))
    assert "problems: none" not in said.split("\n")[:-2]


def test_an_error_is_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path / "a\nb\x1b[2J"), str(tmp_path / "out.safetensors"), "--format", "int8"])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert r"a\nb\x1b[2J is not in " in said


def test_json_is_ascii(many, capsys):
    main(["inspect", str(many), "--json"])
    said = capsys.readouterr().out
    assert said.isascii() and json.loads(said)["path"] == str(many)
