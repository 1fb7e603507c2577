"""What a conversion is asked for."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ..calibrating import Calibration
from ..layer_rules import Override
from . import packages
from .outputs import LIGHTX2V

KEPT = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Options:
    """`format`: of every layer that the rules take, None leaves a quantized source's as it is. `overrides`: see
    layer_rules. `loras`: (file, strength), merged before anything is quantized. `calibration`: layers are smoothed
    where that lowers the error of their output, with SmoothQuant's `alpha`, None searches it. `package`: one of
    packages.PACKAGES, shards of at most `shard_bytes`. `kept`: a key of KEPT, the type of unquantized tensors, None for
    the source's. `resume` and `overwrite`: see Writer and `convert`."""

    format: str | None = None
    dialect: str = LIGHTX2V
    package: str = packages.FILE
    shard_bytes: int = packages.SHARD_BYTES
    overrides: tuple[Override, ...] = ()
    loras: tuple[tuple[Path, float], ...] = ()
    calibration: Calibration | None = None
    alpha: float | None = None
    kept: str | None = None
    resume: bool = False
    overwrite: bool = False
