"""What the registry would publish: its description, its files, and that it works in a ComfyUI that has nothing else."""

import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from published_pack import ROOT, install, published_names

import x2v_quant
from x2v_quant.demo.graph import prompt
from x2v_quant.headless.server import PACK_NAME, REQUIRED_NODES, serve

if sys.version_info < (3, 11):
    tomllib = pytest.importorskip("tomli")
else:
    import tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMFY_TEST = '[test]\nlevels = ["syntax", "coverage", "hazards"]\n'
SHADOW = 'raise ImportError("the pack in custom_nodes must not need an installed x2v_quant")\n'


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The names of the files that would be published."""
    return published_names(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="module")
def unpacked(published, tmp_path_factory):
    """The base folder of a ComfyUI with nothing but the published pack in custom_nodes."""
    base = tmp_path_factory.mktemp("fresh")
    install(published, base)
    return base


def test_the_description_is_what_the_registry_takes():
    project, comfy = PROJECT["project"], PROJECT["tool"]["comfy"]
    assert re.fullmatch(r"[a-z][a-z0-9._-]{0,99}", project["name"])
    assert "comfyui" not in project["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"])
    assert project["version"] == x2v_quant.__version__
    assert project["dependencies"] == []
    assert "Operating System :: OS Independent" in project["classifiers"]
    assert {"PublisherId", "DisplayName", "Icon", "requires-comfyui"} <= set(comfy)
    assert comfy["requires-comfyui"] == f">={'.'.join(map(str, x2v_quant.MINIMUM_COMFYUI))}.0"
    assert project["urls"]["Repository"].startswith("https://github.com/")


def test_the_icon_is_in_the_repository():
    address = PROJECT["tool"]["comfy"]["Icon"]
    place = re.fullmatch(r"https://raw\.githubusercontent\.com/([\w-]+/[\w-]+)/main/(.+)", address)
    assert PROJECT["project"]["urls"]["Repository"].endswith(place[1])
    assert (ROOT / place[2]).is_file()


def test_what_is_published_and_what_is_not(published):
    folders = {name.partition("/")[0] for name in published}
    assert {"__init__.py", "pyproject.toml", "README.md", "LICENSE", "nodes", "web", "workflows", "locales"} <= folders
    assert not folders & {"tests", "benchmarks", ".ci", ".github", "CONTRIBUTING.md"}
    packages = PROJECT["tool"]["setuptools"]["packages"]
    listed = {"/".join([*package.split(".")[1:], "__init__.py"]) for package in packages}
    assert {name for name in published if name.endswith("__init__.py")} == listed


def test_an_installed_package_has_the_same_files(published):
    data = PROJECT["tool"]["setuptools"]["package-data"]["x2v_quant"]
    patterns = [pattern.replace("**/", "") for pattern in data]  # a star of fnmatch goes over folders too
    beside = [name for name in published if "/" in name and not name.endswith(".py")]
    assert [name for name in beside if not any(fnmatch(name, pattern) for pattern in patterns)] == []
    assert any(name.startswith("demo/models/") for name in beside)


def test_it_is_small(unpacked, published, tmp_path):
    """To download, as the registry packs it: 9 MB are the demo's models. Unpacked, its CLIP alone has 16 MB."""
    folder = unpacked / "custom_nodes" / PACK_NAME
    assert Path(shutil.make_archive(str(tmp_path / "pack"), "zip", folder)).stat().st_size < 15e6
    assert sum((folder / name).stat().st_size for name in published) < 40e6


def test_python_files_can_be_read_with_windows_own_encoding(published):
    wrong = []
    for name in (name for name in published if name.endswith(".py")):
        try:
            (ROOT / name).read_text(encoding="utf-8").encode("cp1252")
        except UnicodeEncodeError as error:
            wrong.append(f"{name}: {error.object[error.start]!r}")
    assert wrong == []


def test_nothing_runs_text_as_code(unpacked):
    """What the registry itself looks for: exec, eval, several statements in a line."""
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "S102,S307,E702", "."]
    found = subprocess.run(ruff, cwd=unpacked / "custom_nodes" / PACK_NAME, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.fixture
def tool(unpacked, tmp_path):
    """tool(command, ...) -> what it prints about the unpacked pack. Its settings and results stay in tmp_path."""

    def run(*command):
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]} is not installed")
        places = {name: str(tmp_path) for name in ("HOME", "COMFY_TEST_LOGS_DIR", "COMFY_TEST_WORKSPACE_DIR")}
        found = subprocess.run(
            command,
            cwd=unpacked / "custom_nodes" / PACK_NAME,
            env={**os.environ, **places, "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        assert found.returncode == 0, found.stdout
        return found.stdout

    return run


def test_comfy_cli_validates_it(tool):
    said = tool("comfy", "--skip-prompt", "--no-enable-telemetry", "node", "validate")
    assert "All validation checks passed successfully" in said, said


@pytest.mark.slow
def test_comfy_test_finds_nothing(tool, tmp_path):
    config = tmp_path / "comfy-test.toml"
    config.write_text(COMFY_TEST)
    said = tool("comfy-test", "run", "--config", str(config))
    for line in ("[SYNTAX] PASSED", "[COVERAGE] PASSED", "Hazards check: clean"):
        assert line in said, said


@pytest.mark.slow
def test_it_works_in_a_fresh_comfyui(unpacked, tmp_path, monkeypatch):
    """Without a model: the demo's come with the pack."""
    (tmp_path / "x2v_quant.py").write_text(SHADOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with serve(unpacked, cpu=True) as server:
        assert not (unpacked / "custom_nodes" / PACK_NAME).is_symlink()
        client = server.client
        info = client.object_info()
        assert {info[node]["python_module"] for node in REQUIRED_NODES} == {f"custom_nodes.{PACK_NAME}"}
        for kind, task in (("int8", "t2v"), ("fp8", "t2v"), ("bf16", "t2v"), ("int8", "i2v")):
            result = client.run(prompt(kind, task, info, {"KSampler.steps": 1}))
            (saved,) = (file["filename"] for file in result.files() if file["type"] == "output")
            assert saved.startswith("x2v_demo_")

        translated = client.get("/i18n")["zh"]["nodeDefs"]
        assert set(translated) == {node for node in info if node.startswith("X2V")}
        for node in translated:
            for page in (f"{node}.md", f"{node}/zh.md"):
                assert client.fetch(f"/extensions/{PACK_NAME}/docs/{page}").startswith(b"# ")
        templates = client.get("/workflow_templates")[PACK_NAME]
        assert sorted(templates) == sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))
        for template in templates:
            route = f"/api/workflow_templates/{PACK_NAME}/{template}"
            assert client.get(f"{route}.json")["nodes"]
            assert client.fetch(f"{route}.jpg")[:2] == b"\xff\xd8"
        assert "Traceback" not in server.log_tail(10_000)
