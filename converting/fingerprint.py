"""What was asked of which source, as one line of a journal: two runs with the same one write the same bytes."""

import hashlib
import json
from collections.abc import Iterable

import torch

from ..calibration import Calibration
from ..checkpoints import Checkpoint
from ..common.version import VERSION
from ..kernels.machine import default_device
from ..rounding.methods import NOTHING, TOKENS
from .job import Job
from .options import Options
from .units import Unit


def fingerprint(checkpoint: Checkpoint, units: list[Unit], job: Job, options: Options) -> str:
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    specs = [(name, str(spec.dtype), spec.shape) for unit in units for name, spec in unit.specs.items()]
    loras = [(str(file), strength, file.stat().st_mtime_ns) for file, strength in options.loras]
    smoothed = {layer: factor.tolist() for layer, factor in job.factors.items()}
    rounded = {layer: method.name for layer, method in job.methods.items()}
    made = [job.formats, rounded, _seen(job), options.dialect, options.package, options.shard_bytes]
    # sums of products come out otherwise on another device, and by another version
    made_by = [VERSION, torch.__version__, _name(default_device())]
    return hashlib.sha256(json.dumps([files, specs, loras, smoothed, made, made_by]).encode()).hexdigest()


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _seen(job: Job) -> str:
    """A digest of what was recorded of the layers that are rounded by it."""
    calibration = job.rounding.recorded.calibration
    by_means = [layer for layer, method in job.methods.items() if method.needs != NOTHING]
    if calibration is None or not by_means:
        return ""
    return _digest(calibration, by_means, [layer for layer in by_means if job.methods[layer].needs == TOKENS])


def _digest(calibration: Calibration, layers: Iterable[str], with_tokens: Iterable[str]) -> str:
    """Of the largest values and mean squares of `layers`, and of the tokens, each of which is read once, though layers
    share them."""
    found = hashlib.sha256(str(calibration.calls).encode())
    for layer in layers:
        for values in (calibration.maxima[layer], calibration.mean_squares(layer)):
            _update(found, layer, values)
    read: set[str] = set()
    for layer in with_tokens:
        owner = calibration.same_inputs(layer)
        found.update(f"{layer} {owner}".encode())
        if owner not in read:
            read.add(owner)
            _update(found, owner, calibration.inputs_of(owner))
    return found.hexdigest()


def _update(found, name: str, values: torch.Tensor) -> None:
    found.update(f"{name} {values.dtype} {list(values.shape)}".encode())
    found.update(values.cpu().contiguous().view(torch.uint8).numpy())
