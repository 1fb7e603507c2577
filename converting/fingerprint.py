"""What was asked of which source, as one line of a journal: two runs with the same one write the same bytes."""

import hashlib
import json

from ..calibration import Calibration
from ..checkpoints import Checkpoint
from .job import Job
from .options import Options
from .units import Unit


def fingerprint(checkpoint: Checkpoint, units: list[Unit], job: Job, options: Options) -> str:
    files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in checkpoint.files]
    specs = [(name, str(spec.dtype), spec.shape) for unit in units for name, spec in unit.specs.items()]
    loras = [(str(file), strength, file.stat().st_mtime_ns) for file, strength in options.loras]
    smoothed = {layer: factor.tolist() for layer, factor in job.factors.items()}
    rounded = {layer: method.name for layer, method in job.methods.items()}
    seen = "" if options.calibration is None else _digest(options.calibration)
    made = [job.formats, rounded, seen, options.dialect, options.package, options.shard_bytes]
    return hashlib.sha256(json.dumps([files, specs, loras, smoothed, made]).encode()).hexdigest()


def _digest(calibration: Calibration) -> str:
    """Of what was recorded: calls, and the largest values and squares of every channel, which no two recordings of
    other inputs have alike; of the inputs themselves their number."""
    found = hashlib.sha256(str(calibration.calls).encode())
    for table in (calibration.maxima, calibration.squares):
        for layer, values in table.items():
            found.update(layer.encode())
            found.update(values.cpu().numpy().tobytes())
    found.update(json.dumps({layer: list(inputs.shape) for layer, inputs in calibration.inputs.items()}).encode())
    return found.hexdigest()
