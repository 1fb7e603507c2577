"""Peak memory of loading a quantized file, above what the interpreter has after its imports."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from ..demo import encoders
from ..demo.quantize import quantized
from .case import Case
from .models import wan_1_3b, write_pair

BLOCKS = 8
# file size + 10 %
TARGET = 1.1


def cases() -> list[Case]:
    """`ours` is the peak in MB, `theirs` the size of the file; UNETLoader's peak with the bfloat16 file stands beside
    it in a case without target."""
    with tempfile.TemporaryDirectory() as folder:
        dense, safetensors = write_pair(Path(folder), wan_1_3b(BLOCKS), "int8")
        pth = _write_t5(Path(folder))
        sizes = [file.stat().st_size / 1e6 for file in (safetensors, pth)]
        dit, t5, core = (measure(*run) for run in (("dit", safetensors), ("t5", pth), ("core", dense)))
    return [
        Case(f"peak memory of loading a {sizes[0]:.0f} MB int8 .safetensors vs its size", dit, sizes[0], "MB", TARGET),
        Case(f"peak memory of loading a {sizes[1]:.0f} MB int8 T5 .pth vs its size", t5, sizes[1], "MB", TARGET),
        Case("peak memory of loading, int8 .safetensors vs UNETLoader with the bf16 file", dit, core, "MB"),
    ]


def _write_t5(folder: Path) -> Path:
    """A quantized umt5 of some size and its tokenizer, as LightX2V lays them out."""
    spiece = encoders.spiece_model(0)
    (folder / "spiece.model").write_bytes(spiece)
    path = folder / "models_t5_umt5-xxl-enc-int8.pth"
    weights = encoders.umt5(0, encoders.pieces(spiece), width=1024, ffn=2816, blocks=16)
    torch.save(quantized({name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}, "int8", "t5"), path)
    return path


def measure(loader: str, path: Path) -> float:
    """MB by which a fresh interpreter's resident memory peaks while it loads `path` and reads every weight once."""
    command = [sys.executable, "-m", "x2v_quant.benchmarks.peak_memory", loader, str(path)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(result.stdout.splitlines()[-1])["peak_mb"]
