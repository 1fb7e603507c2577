"""What is on the disk if a run does not come to its end, and how it goes on."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from x2v_quant.converting import ConvertError
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options
from x2v_quant.converting.tensor_file import TensorFile
from x2v_quant.layer_rules import parse_overrides

FOLDER = {"package": "shards", "shard_bytes": 400_000}
PACKAGES = pytest.mark.parametrize("name,package", [("out.safetensors", {}), ("out", FOLDER)])


class Stop:
    """A progress callback that raises `error` after so many units."""

    def __init__(self, after, error):
        self.left, self.error = after, error

    def __call__(self, done, total):
        self.left -= 1
        if self.left == 0:
            raise self.error


def whole(path):
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name: file.read_bytes() for file in files}


def beside(target):
    return {path.name for path in target.parent.iterdir() if path.name.startswith("out")}


@PACKAGES
def test_an_interrupted_run_is_taken_up_again(name, package, source, tmp_path, converted):
    expected = whole(converted(source, f"expected{Path(name).suffix}", format="int8-channel", **package))
    target = tmp_path / name
    options = Options(format="int8-channel", **package)
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, options, Stop(25, KeyboardInterrupt()))
    assert not target.exists()
    assert not list(tmp_path.glob("out*.safetensors"))
    made = []
    report = convert(source, target, Options(format="int8-channel", resume=True, **package), lambda *_: made.append(1))
    renamed = {key.replace("expected", "out"): data for key, data in expected.items()}
    assert {key: data for key, data in whole(target).items() if key.endswith("safetensors")} == {
        key: data for key, data in renamed.items() if key.endswith("safetensors")
    }
    assert beside(target) == {name}
    assert report["bytes"] == sum(len(data) for key, data in whole(target).items() if key.endswith("safetensors"))


def test_what_was_finished_is_not_made_again(source, tmp_path, monkeypatch):
    from x2v_quant.converting import layer_rounding as module

    target = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Options(format="int8-channel"), Stop(40, KeyboardInterrupt()))
    in_parts, made = module.in_parts, []
    monkeypatch.setattr(module, "in_parts", lambda *args: made.append(args) or in_parts(*args))
    convert(source, target, Options(format="int8-channel", resume=True))
    assert 0 < len(made) < 15


@pytest.mark.parametrize(
    "second",
    [
        {"format": "fp8-channel"},
        {"format": "int8-channel", "overrides": tuple(parse_overrides("ffn.0 = fp8-channel"))},
        {"format": "int8-channel", "kept": "fp32"},
    ],
)
def test_another_job_does_not_go_on_with_what_is_there(second, source, tmp_path, converted):
    target = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Options(format="int8-channel"), Stop(40, KeyboardInterrupt()))
    convert(source, target, Options(resume=True, **second))
    assert target.read_bytes() == converted(source, "expected.safetensors", **second).read_bytes()


@PACKAGES
def test_a_full_disk_leaves_nothing(name, package, source, tmp_path):
    target = tmp_path / name
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ConvertError, match=r"does not fit on its disk\. Make room, or choose another target"):
        convert(source, target, Options(format="int8-channel", **package), Stop(25, full))
    assert beside(target) == set()


def test_a_full_disk_leaves_what_resume_goes_on_with(source, tmp_path, converted):
    target = tmp_path / "out.safetensors"
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(ConvertError):
        convert(source, target, Options(format="int8-channel", resume=True), Stop(25, full))
    assert beside(target) == {"out.safetensors.partial", "out.safetensors.partial.journal"}
    convert(source, target, Options(format="int8-channel", resume=True))
    assert target.read_bytes() == converted(source, "expected.safetensors", format="int8-channel").read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_process_is_taken_up_again(source, tmp_path, converted):
    target = tmp_path / "out.safetensors"
    program = (
        "import sys, time; from pathlib import Path; "
        "from x2v_quant.converting.convert import convert; from x2v_quant.converting.options import Options; "
        "convert(Path(sys.argv[1]), Path(sys.argv[2]), Options('int8-channel'), lambda *_: time.sleep(0.05))"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(source), str(target)])
    journal = tmp_path / "out.safetensors.partial.journal"
    deadline = time.monotonic() + 120
    while not (journal.exists() and journal.read_text().count("\n") > 10):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not target.exists()
    convert(source, target, Options(format="int8-channel", resume=True))
    assert target.read_bytes() == converted(source, "expected.safetensors", format="int8-channel").read_bytes()
    assert beside(target) == {"out.safetensors"}


def test_what_the_disk_refused_is_not_taken_for_finished(source, tmp_path, converted, monkeypatch):
    """The write fails behind, while its unit is already being noted."""
    target = tmp_path / "out.safetensors"
    append, left = TensorFile.append, [30]

    def refuse(self, name, values):
        left[0] -= 1
        if left[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        append(self, name, values)

    with monkeypatch.context() as patched:
        patched.setattr(TensorFile, "append", refuse)
        with pytest.raises(ConvertError, match="does not fit on its disk"):
            convert(source, target, Options(format="int8-channel", resume=True))
    convert(source, target, Options(format="int8-channel", resume=True))
    assert target.read_bytes() == converted(source, "expected.safetensors", format="int8-channel").read_bytes()
