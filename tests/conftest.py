"""ComfyUI on the path, on CPU unless tests marked gpu run on a machine that has one."""

import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

COMFYUI = Path(os.environ.get("COMFYUI_PATH") or Path(__file__).parent.parent / ".comfyui" / "ComfyUI")

# seconds that a test without the mark "slow" may take: five times what the mark says, for machines that are busy
UNMARKED = 10


def pytest_configure(config):
    sys.path.insert(0, str(COMFYUI))
    import utils  # noqa: F401  (as main.py does: nodes.py puts comfy/ on the path, which has another)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # processes side by side with as many threads each as there are cores wait for each other; servers inherit it
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)
    # what a benchmark once saved for this user must not decide what is tested
    os.environ["X2V_QUANT_HOME"] = tempfile.mkdtemp(prefix="x2v-quant-tests-")


def pytest_unconfigure():
    shutil.rmtree(os.environ["X2V_QUANT_HOME"])


def pytest_terminal_summary(terminalreporter):
    """Holds the marks to what is true: on a machine that does nothing else a test that is listed here lacks one."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    unmarked = [report for report in reports if report.duration > UNMARKED and "slow" not in report.keywords]
    if unmarked:
        terminalreporter.section(f"over {UNMARKED} seconds and not marked slow")
        for report in sorted(unmarked, key=lambda report: -report.duration):
            terminalreporter.line(f"{report.duration:.1f} s {report.nodeid}")


def pytest_xdist_auto_num_workers():
    """One process per core, up to the four that memory allows; a GPU is tested by one."""
    return 1 if torch.cuda.is_available() else min(4, os.cpu_count())


def pytest_collection_modifyitems(items):
    if "PYTEST_XDIST_WORKER" in os.environ:
        _slow_files_first(items)
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no NVIDIA GPU on this machine"))


def _slow_files_first(items):
    """Processes take a file each: the end then waits for a quick one, where a server's would keep one busy alone."""
    slow, tests = Counter(), Counter(item.path for item in items)
    slow.update(item.path for item in items if "slow" in item.keywords)
    items.sort(key=lambda item: (-slow[item.path], -tests[item.path], str(item.path)))


@pytest.fixture
def inference():
    """The mode ComfyUI's executor runs in: loading and running happen in the same one."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="session")
def best():
    """best(format name) -> the kernel that `auto` takes on this machine: not every CPU multiplies int8."""
    from x2v_quant.kernels import choose
    from x2v_quant.kernels.machine import default_device, describe

    return lambda format_name: choose(format_name, describe(default_device())).kernel


@pytest.fixture(scope="session")
def comfyui() -> Path:
    return COMFYUI


@pytest.fixture(scope="session")
def demo_models(tmp_path_factory) -> Iterator[Path]:
    """A models folder with the demo's small checkpoints in int8, fp8 and bf16. A test that leaves a file there breaks
    those that come after it in the same process, so that is an error."""
    from x2v_quant.demo import assets

    models = tmp_path_factory.mktemp("comfyui") / "models"
    assets.write(models)
    before = set(models.rglob("*"))
    yield models
    assert set(models.rglob("*")) == before, "a test has written into the demo's models: let it copy them"


@pytest.fixture
def told(monkeypatch):
    """told(name): core's detection is told the sizes that it does not read off the file."""
    from family_files import tell_sizes

    return lambda name: tell_sizes(name, monkeypatch)


@pytest.fixture
def untried(monkeypatch, tmp_path_factory):
    """No ComfyUI is found, so that a part of a model is as good as a whole one."""
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path_factory.mktemp("no_comfyui")))
