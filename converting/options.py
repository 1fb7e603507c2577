"""What a conversion is asked for."""

from dataclasses import dataclass
from pathlib import Path

import torch

from ..calibration import Calibration
from ..checkpoints.encodings import COMFYUI, LIGHTX2V
from ..layer_rules import Override
from ..rounding import AUTO
from . import packages

KEPT = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


@dataclass(frozen=True)
class Options:
    """`format`: of every layer that the rules take; None leaves a quantized source's as it is, and is what this machine
    computes in for any other. `overrides`: see
    layer_rules. `loras`: (file, strength), merged before anything is quantized. `calibration`: layers are smoothed
    where that lowers the error of their output, with SmoothQuant's `alpha`, None searches it. `package`: one of
    packages.PACKAGES, shards of at most `shard_bytes`. `kept`: a key of KEPT, the type of unquantized tensors, None for
    the source's. `target_snr` (dB of every layer's output) or `target_size` (bytes of the whole model) instead of a
    `format`: the cheapest of `candidates` for each layer, see search.py; empty: all advised ones of the dialect; the
    inputs are then as `calibration` has seen them. `rounding`: one of rounding.CHOICES. `rotation`: AUTO leaves
    `format` as it is, "none" and a number of channels are its twin without a rotation and with that one, see
    rotation.py. `resume` and `overwrite`: see Writer and `convert`."""

    format: str | None = None
    dialect: str = LIGHTX2V
    package: str = packages.FILE
    shard_bytes: int = packages.SHARD_BYTES
    overrides: tuple[Override, ...] = ()
    loras: tuple[tuple[Path, float], ...] = ()
    calibration: Calibration | None = None
    alpha: float | None = None
    kept: str | None = None
    target_snr: float | None = None
    target_size: int | None = None
    candidates: tuple[str, ...] = ()
    rounding: str = AUTO
    rotation: str = AUTO
    resume: bool = False
    overwrite: bool = False

    @property
    def searches(self) -> bool:
        return self.target_snr is not None or self.target_size is not None

    @property
    def smooths(self) -> bool:
        """In ComfyUI's dialect, which has no place for smoothing, a calibration is for a search and for rounding."""
        if self.calibration is None or self.dialect != COMFYUI:
            return self.calibration is not None
        return not (self.searches or self.calibration.inputs or self.rounding == "weighted")

    @property
    def measures(self) -> bool:
        """Whether weights are looked at before the first is written."""
        return self.searches or self.smooths
