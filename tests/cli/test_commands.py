"""The command line imports what the command that was typed needs, and no more."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from x2v_quant.cli.checkout import module_of
from x2v_quant.cli.commands import COMMANDS
from x2v_quant.core.on_path import PACK

if sys.version_info < (3, 11):
    tomllib = pytest.importorskip("tomli")
else:
    import tomllib

FIXTURE = PACK / "tests" / "fixtures" / "wan_t2v_fp8.safetensors"
IMPORTS = "import sys; from x2v_quant.cli import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
# without the finder by which an editable installation has the folders that are not installed
INSTALLED = """
import runpy, sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in str(finder).lower()]
runpy.run_module("x2v_quant", run_name="__main__", alter_sys=True)
"""
PROJECT = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
INSTALLED_PACKAGES = PROJECT["tool"]["setuptools"]["packages"]
NOT_FOR_INSPECT = ("benchmarks", "kernels.timing", "demo", "converting", "headless", "quantizing", "nodes")


def typed(*command, folder=PACK.parent):
    """`folder` holds the pack."""
    return subprocess.run(
        [sys.executable, *command], env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_module_of_a_command(command):
    module = module_of(command.module, command.name)
    assert callable(module.run)
    assert callable(module.lines)


def test_python_m_is_the_command():
    told = typed("-m", "x2v_quant", "--help")
    assert told.returncode == 0, told.stderr
    assert all(command.name in told.stdout for command in COMMANDS)
    assert typed("-m", "x2v_quant", "nothing").returncode == 2


def test_help_needs_no_torch():
    code = f"import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); {IMPORTS}"
    told = typed("-c", code, "--help")
    assert told.returncode == 0
    imported = told.stderr.split()
    assert "x2v_quant.cli.program" in imported
    assert not {"torch", "numpy", "comfy_kitchen"} & set(imported)


def test_inspect_imports_no_more_than_it_needs():
    told = typed("-c", IMPORTS, "inspect", str(FIXTURE))
    imported = told.stderr.split()
    assert "x2v_quant.reports.checkpoint" in imported
    assert not {"aiohttp", "websocket", "matplotlib", "transformers", "comfy.sd"} & set(imported)
    packages = {name.split(".")[1] for name in imported if name.startswith("x2v_quant.")}
    assert not packages & set(NOT_FOR_INSPECT)


def test_nothing_that_is_installed_imports_what_measures():
    files = {file for name in INSTALLED_PACKAGES for file in PACK.joinpath(*name.split(".")[1:]).glob("*.py")}
    imports = re.compile(r"^\s*(from|import) (\.+|x2v_quant\.)(benchmarks|tests)\b", re.MULTILINE)
    assert [file for file in files if imports.search(file.read_text(encoding="utf-8"))] == []


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the pack as a wheel has it."""
    folder = tmp_path_factory.mktemp("installed")
    for name in INSTALLED_PACKAGES:
        below = Path(*name.split(".")[1:])
        (folder / "x2v_quant" / below).mkdir(parents=True)
        for file in (PACK / below).glob("*.py"):
            shutil.copy(file, folder / "x2v_quant" / below)
    return folder


@pytest.mark.parametrize("command", ["fidelity", "bench"])
def test_what_measures_is_not_installed(command, installed):
    told = typed("-c", INSTALLED, command, folder=installed)
    assert told.returncode == 1
    assert told.stderr == (
        f"x2v-quant: x2v-quant {command} needs the folder benchmarks, which is not installed: git clone "
        f"https://github.com/x2v-quant/x2v-quant, and run there python dev.py exec x2v-quant {command}\n"
    )


def test_kernels_are_timed_where_it_is_installed(installed, tmp_path):
    told = typed("-c", INSTALLED, "bench", "--kernels", "--quick", "--results", str(tmp_path), folder=installed)
    assert told.returncode == 0, told.stderr
    assert len(list(tmp_path.iterdir())) == 1
