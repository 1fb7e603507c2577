"""Loading a quantized file: how far memory rises above what the interpreter has after its imports, and how long it
takes until every weight has been read, from the disk (cold) and from the system's page cache (warm)."""

import gc
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import torch

from ..kernels.timing.case import Case, timed
from ..kernels.timing.clock import FULL, Effort, measure
from . import models, page_cache
from .case import missing
from .reading import T5_MODEL, read
from .wan import WanSize

PART = "loading"
BLOCKS = 8
# file size + 10 %
TARGET = 1.1
QUICK_SIZE = WanSize(dim=256, ffn=512, blocks=1, text=models.TEXT_WIDTH)


@dataclass(frozen=True)
class Pair:
    """Two files of the same weights and the loaders (keys of reading.LOADERS) that read them."""

    what: str
    ours: Path
    loader: str
    peer: str
    dense: Path
    core_loader: str

    @property
    def name(self) -> str:
        return f"{_megabytes(self.ours):.0f} MB {self.what}"


def cases(effort: Effort = FULL) -> list[Case]:
    """Peak memory in MB, against the size of the file and against core's loader; time in seconds against core's
    loader. A quick run leaves memory out: each figure of it takes an interpreter's start."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = _pairs(Path(folder), effort)
        result = [] if effort.quick else [case for pair in pairs for case in memory(pair)]
        return result + [case for pair in pairs for case in _time(pair, effort)]


def _pairs(folder: Path, effort: Effort) -> list[Pair]:
    size = QUICK_SIZE if effort.quick else models.wan_1_3b(BLOCKS)
    (folder / "dit").mkdir()
    dense, ours = models.write_pair(folder / "dit", size, "int8")
    pairs = [Pair("int8 .safetensors", ours, "dit", "UNETLoader, bf16 file", dense, "core")]
    if effort.quick:
        return pairs
    (folder / "t5").mkdir()
    weights = models.umt5(folder / "t5", T5_MODEL, T5_MODEL.blocks)
    files = models.write(folder / "t5", weights, "t5", ["int8"], suffix=".pth")
    return [*pairs, Pair("int8 T5 .pth", files.ours["int8"], "t5", "CLIPLoader, bf16 file", files.dense, "core-t5")]


def memory(pair: Pair) -> list[Case]:
    what = f"peak memory of loading a {pair.name}"
    ours = peak(pair.loader, pair.ours)
    return [
        Case(f"{what} vs its size", ours, _megabytes(pair.ours), "MB", TARGET, PART),
        Case(f"{what} vs {pair.peer}", ours, peak(pair.core_loader, pair.dense), "MB", part=PART),
    ]


def peak(loader: str, path: Path) -> float:
    """MB by which a fresh interpreter's resident memory peaks while it loads `path` and reads every weight once."""
    command = [sys.executable, "-m", "x2v_quant.benchmarks.peak_memory", loader, str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])["peak_mb"]


def _time(pair: Pair, effort: Effort) -> list[Case]:
    paths = {"ours": pair.ours, "theirs": pair.dense}
    runs = {
        "ours": lambda: read(pair.loader, pair.ours),
        "theirs": lambda: read(pair.core_loader, pair.dense),
    }

    def from_disk(name):
        _let_go()
        page_cache.forget(paths[name])

    warm = measure(runs, effort, prepare=lambda name: _let_go())
    result = [timed(PART, f"loading a {pair.name}, warm", pair.peer, warm["ours"], warm["theirs"], "s")]
    _let_go()
    cold = f"loading a {pair.name}, cold"
    reason = page_cache.why_not_cold(pair.ours)
    if reason is None:
        times = measure(runs, effort, prepare=from_disk)
        result.append(timed(PART, cold, pair.peer, times["ours"], times["theirs"], "s"))
    else:
        result.append(missing(PART, cold, pair.peer, None, "s", reason))
    _let_go()
    return result


@torch.inference_mode()
def _let_go() -> None:
    """Nothing that was loaded stays, and no file stays mapped."""
    comfy.model_management.unload_all_models()
    gc.collect()


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6
