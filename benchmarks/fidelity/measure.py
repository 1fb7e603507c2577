"""What one contestant's process does: load, sample every case, compare layer by layer. Needs ComfyUI on the path."""

import gc
import statistics
import time
from pathlib import Path

import comfy.model_management
import psutil
import torch
from safetensors.torch import load_file, save_file

from ...calibration.recorder import calibrated
from ...common.resident_memory import peak, reset_peak
from ...comparing.storage import stored
from ...demo import recipe
from .contestants import Contestant
from .files import selected
from .job import LATENTS, NEGATIVE, Job, prompt
from .layers import compare
from .loaders import load
from .recording import CASES, EVERY, ROWS, Recorder
from .sampling import Stopwatch, sample, shifted

LOADS = 5
ALONE = 3  # videos sampled one by one, as a user does, for time and memory; the first one's steps are not timed
TOKENS = 4096  # distinct ones that a layer's calibration has at most
BATCH = 12  # videos sampled at a time for everything else


def measure(job: Job) -> dict:
    """{"load_s", "step_ms", "peak_mb", "compute", "layers": {name: layers.compare's}}, the first three None unless the
    job is timed, and the latents in the job's folder. The time to load is the median of LOADS loads of a file that the
    system has just written or read; that of a step the median of all steps but each video's first, for one video at a
    time. The latents are sampled BATCH at a time, which only formats with one scale for all activations can tell.

    Raises RuntimeError if a layer is not stored as the contestant says.
    """
    row = Contestant(**job.contestant)
    original, encoded = load_file(job.original), load_file(job.conditioning)
    layers = selected(original)
    figures = _timed(row, job, layers, encoded) if job.timed else dict.fromkeys(("load_s", "step_ms", "peak_mb"))
    patcher, _ = _timed_load(row, job)
    _check(patcher, row, layers)
    model = shifted(patcher)
    batches = [job.cases[start : start + BATCH] for start in range(0, len(job.cases), BATCH)]
    latents = [_sample(model, encoded, batch, Stopwatch()) for batch in batches]
    save_file({"latents": torch.cat(latents).cpu().contiguous()}, Path(job.folder) / LATENTS)
    if job.record:
        _record(model, layers, job, encoded)
    compute = patcher.model.manual_cast_dtype or patcher.model.get_dtype()
    compared = _compare(patcher, layers, original, load_file(job.recording), compute)
    return {**figures, "compute": str(compute).removeprefix("torch."), "layers": compared}


def _timed(row: Contestant, job: Job, layers: list[str], encoded: dict[str, torch.Tensor]) -> dict[str, float]:
    """{"load_s", "step_ms", "peak_mb"}, as `measure` says."""
    _timed_load(row, job)  # what is imported and probed once is nobody's own
    _unload()
    before = _start_memory()
    patcher, seconds = _timed_load(row, job)
    _check(patcher, row, layers)
    model = shifted(patcher)
    watch, warm = Stopwatch(), Stopwatch()
    for place, case in enumerate(job.cases[:ALONE]):
        _sample(model, encoded, [case], watch if place else warm)
    most = _peak_memory() - before
    del model, patcher
    times = [seconds, *(_timed_load(row, job)[1] for _ in range(LOADS - 1))]
    steps = statistics.median(watch.seconds or warm.seconds)
    return {"load_s": statistics.median(times), "step_ms": steps * 1e3, "peak_mb": most / 1e6}


def _sample(model, encoded: dict[str, torch.Tensor], cases: list, callback: Stopwatch) -> torch.Tensor:
    """cases: (caption, seed) of the videos to sample together."""
    positive = torch.cat([encoded[prompt(caption)] for caption, _ in cases])
    return sample(model, positive, encoded[NEGATIVE], [seed for _, seed in cases], callback)


def _timed_load(row: Contestant, job: Job):
    """(ModelPatcher on its device, seconds); what was loaded before is gone first."""
    _unload()
    start = time.perf_counter()
    patcher = load(row, Path(job.file), Path(job.gguf) if job.gguf else None)
    comfy.model_management.load_models_gpu([patcher])
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return patcher, time.perf_counter() - start


def _unload() -> None:
    comfy.model_management.unload_all_models()
    gc.collect()


def _check(patcher, row: Contestant, layers: list[str]) -> None:
    for name in layers:
        found = stored(patcher.model.diffusion_model.get_submodule(name))
        if row.stored not in ("", found):
            raise RuntimeError(f"{row.name}: layer {name} is {found} instead of {row.stored}")


def _record(model, layers: list[str], job: Job, encoded: dict[str, torch.Tensor]) -> None:
    """The inputs that layers are compared on, of some cases that are judged, and the calibration, of cases that are
    not."""
    cases = job.cases[:CASES]
    calls = len(cases) * -(-recipe.STEPS // EVERY)
    with Recorder(model.model.diffusion_model, layers, -(-ROWS // calls)) as recorder:
        for case in cases:
            _sample(model, encoded, [case], Stopwatch())
    save_file(recorder.tensors(), job.recording)
    model, calibration = calibrated(model, TOKENS)
    _sample(model, encoded, job.others, Stopwatch())
    calibration.save(job.calibration)


def _compare(patcher, layers: list[str], original: dict, recorded: dict, compute: torch.dtype) -> dict[str, dict]:
    device = comfy.model_management.get_torch_device()
    result = {}
    for name in layers:
        bias = original.get(f"{name}.bias")
        result[name] = compare(
            patcher.model.diffusion_model.get_submodule(name),
            original[f"{name}.weight"].to(device),
            None if bias is None else bias.to(device),
            recorded[name].to(device, compute),
        )
    return result


def _start_memory() -> int:
    """Start counting; bytes in use already. On a CPU resident memory, on a GPU what torch has allocated there."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    reset_peak()
    return psutil.Process().memory_info().rss


def _peak_memory() -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak()
