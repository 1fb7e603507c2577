"""x2v-quant convert on a bfloat16 file: against reading and writing the same file, and how far memory rises. Run as a
module in a fresh interpreter it converts one file and prints the peak of resident memory above that with ComfyUI."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from ..common.resident_memory import peak, reset_peak
from ..converting.convert import convert
from ..converting.options import Options
from ..converting.tensor_file import TensorFile
from ..converting.units import Spec
from ..core.on_path import use_comfyui
from ..kernels.timing.case import Case, timed
from ..kernels.timing.clock import FULL, Effort, measure
from .case import missing
from .random_file import dense
from .shapes import WAN_14B, Model

PART = "file_converting"
FORMATS = ("int8-channel", "fp8-channel")
# blocks of 702 MB: 2.1 GB of layers, beside which are 0.4 GB that is copied
BLOCKS = 3
QUICK_MODEL = Model("small", "dit", width=512, mlp=1024, heads=4, blocks=1, layers=())
COPY, LIMIT = "copying it", "1 GB"
# "at least half the speed of reading and writing it", "under 1 GB"
SPEED, LIMIT_MB = 0.5, 1000.0
# the source, a copy, a converted file of half the size and its temporary one
DISK_BYTES = 8_000_000_000
# bytes that the copy holds at a time
BUFFER = 1 << 24
# random values that are made at a time
VALUES = 1 << 24


def cases(effort: Effort = FULL) -> list[Case]:
    """Seconds of converting against those of copying the file, warm and taking turns, both with the disk's word that it
    has everything; and peak memory in MB. A quick run leaves memory out: it takes an interpreter's start."""
    with tempfile.TemporaryDirectory() as folder:
        free = shutil.disk_usage(folder).free
        if not effort.quick and free < DISK_BYTES:
            reason = f"needs {DISK_BYTES / 1e9:.0f} GB of free disk, there are {free / 1e9:.1f}"
            return [missing(PART, f"converting to {name}", COPY, None, "s", reason) for name in FORMATS]
        source = Path(folder) / "source.safetensors"
        write_source(source, dense(QUICK_MODEL, 1) if effort.quick else dense(WAN_14B, BLOCKS))
        megabytes = source.stat().st_size / 1e6
        result = []
        for name in FORMATS:
            what = f"converting a {megabytes:.0f} MB bf16 file to {name}"
            runs = work(source, name)
            times = measure(runs, effort, prepare=lambda run: target(source, run).unlink(missing_ok=True))
            result.append(timed(PART, what, COPY, times["ours"], times["theirs"], "s", SPEED))
            for run in runs:
                target(source, run).unlink()
            if not effort.quick:
                rise = memory(source, name)
                result.append(Case(f"peak memory of {what} vs {LIMIT}", rise, LIMIT_MB, "MB", 1.0, PART))
        return result


def write_source(path: Path, tensors: dict[str, Spec]) -> None:
    """A file of `tensors` with normal values of the size that linear layers keep the variance with."""
    generator = torch.Generator().manual_seed(0)
    file = TensorFile(path, tensors, {})
    file.open(fresh=True)
    for name, spec in tensors.items():
        left = torch.Size(spec.shape).numel()
        while left:
            values = torch.randn(min(left, VALUES), generator=generator).mul_(spec.shape[-1] ** -0.5)
            file.append(name, values.to(spec.dtype))
            left -= values.numel()
    file.close(sync=True)


def work(source: Path, format_name: str) -> dict[str, Callable[[], object]]:
    """What takes turns, each of which writes `target`."""
    return {
        "ours": lambda: convert(source, target(source, "ours"), Options(format=format_name)),
        "theirs": lambda: copy(source, target(source, "theirs")),
    }


def target(source: Path, run: str) -> Path:
    return source.with_name(f"{run}.safetensors")


def copy(source: Path, destination: Path) -> None:
    """Read and write; returns when the disk has it all, as convert does."""
    with source.open("rb", buffering=0) as read, destination.open("wb", buffering=0) as written:
        shutil.copyfileobj(read, written, BUFFER)
        os.fsync(written.fileno())


def memory(source: Path, format_name: str) -> float:
    """MB by which the resident memory of a fresh interpreter with ComfyUI peaks while it converts `source`."""
    command = [sys.executable, "-m", __name__, str(source), str(target(source, "ours")), format_name]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    target(source, "ours").unlink()
    return json.loads(result.stdout.splitlines()[-1])["peak_mb"]


def main(source: str, destination: str, format_name: str) -> None:
    use_comfyui()
    importlib.import_module("..loading.trial", __package__)  # which convert does itself, once all is written
    reset_peak()
    before = psutil.Process().memory_info().rss
    convert(Path(source), Path(destination), Options(format=format_name))
    print(json.dumps({"peak_mb": (peak() - before) / 1e6}))


if __name__ == "__main__":
    main(*sys.argv[1:])
