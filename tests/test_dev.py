"""dev.py: what it refuses, what it unpacks, and that a step that is done is not done again."""

import io
import subprocess
import sys
import tarfile

import pytest

from x2v_quant import dev


def comfyui_folder(folder, version):
    folder.mkdir()
    (folder / "comfyui_version.py").write_text(f'# generated\n__version__ = "{version}"\n')
    return folder


@pytest.mark.parametrize("version", ["0.30.0", "0.31.2", "1.0.0"])
def test_a_good_enough_comfyui_is_taken(tmp_path, version):
    folder = comfyui_folder(tmp_path / "ComfyUI", version)
    assert dev.given_comfyui(str(folder)) == folder


@pytest.mark.parametrize("version", ["0.3.64", "0.29.9"])
def test_an_old_comfyui_is_refused(tmp_path, version):
    with pytest.raises(dev.SetupError, match=rf"ComfyUI {version}: 0\.30 or later is needed"):
        dev.given_comfyui(str(comfyui_folder(tmp_path / "ComfyUI", version)))


def test_a_comfyui_that_was_named_and_is_not_there_is_one_sentence_and_status_1(tmp_path):
    gone = str(tmp_path / "gone")
    command = [sys.executable, dev.__file__, "exec", "--comfyui", gone, "true"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert gone in done.stderr


def test_a_variable_that_leads_nowhere_is_said_and_passed_over(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "gone"))
    assert dev.comfyui_from_environment() is None
    assert "does not exist and is not used" in capsys.readouterr().err
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    assert dev.comfyui_from_environment() == str(tmp_path)


def archive(path, names):
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return path


def test_unpack_takes_comfyui_and_nothing_else(tmp_path):
    names = ["p-1/vendor/ComfyUI/main.py", "p-1/vendor/ComfyUI/comfy/ops.py", "p-1/setup.py", "p-1/vendor/other.py"]
    dev.unpack(archive(tmp_path / "a.tar.gz", names), tmp_path / "out")
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {"main.py", "comfy/ops.py"}
    assert (tmp_path / "out" / "main.py").read_text() == names[0]


@pytest.mark.parametrize("name", ["../../../out.py", "..\\out.py", "C:out.py"])
def test_unpack_refuses_a_path_that_climbs_out(tmp_path, name):
    with pytest.raises(dev.SetupError, match="unsafe path"):
        dev.unpack(archive(tmp_path / "a.tar.gz", [f"p-1/vendor/ComfyUI/{name}"]), tmp_path / "out")
    assert [path.name for path in tmp_path.rglob("*.py")] == []


@pytest.mark.parametrize(
    ("argv", "command", "rest", "words"),
    [
        (["demo", "--cpu", "--format", "int8"], "demo", ["--cpu", "--format", "int8"], None),
        (["demo", "--prompt", "a red circle"], "demo", ["--prompt", "a red circle"], None),
        (["test", "-k", "linear", "-x"], "test", ["-k", "linear", "-x"], None),
        (["exec", "x2v-quant", "inspect", "a.pth", "--json"], "exec", [], ["x2v-quant", "inspect", "a.pth", "--json"]),
        (["exec", "--comfyui", "C", "pip", "--help"], "exec", [], ["pip", "--help"]),
    ],
)
def test_foreign_arguments_are_passed_on(argv, command, rest, words):
    args, found = dev.parse(argv)
    assert (args.command, found, getattr(args, "words", None)) == (command, rest, words)


@pytest.mark.skipif(sys.prefix != str(dev.VENV), reason="this is not the environment that dev.py made")
def test_exec_passes_status_and_output_through():
    command = [sys.executable, dev.__file__, "exec", "python", "-c", "print(1); raise SystemExit(7)"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 7
    assert done.stdout == "1\n"
