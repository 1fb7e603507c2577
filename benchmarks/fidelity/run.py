"""The whole comparison: each contestant in a process of its own, then its latents and videos against the baseline's."""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

import comfy.model_management
import comfy.sd
import comfy.utils
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from ...demo import assets, recipe
from ...kernels.machine import describe
from ...kernels.timing.report import with_machine
from . import files, wide
from .bits import bits_per_weight
from .cases import Case, pick
from .contestants import BASELINE, ORIGINAL, Contestant, contestants, missing
from .errors import FidelityError
from .frames import Frames
from .job import LATENTS, RESULT, Job
from .loaders import computing
from .promises import promises
from .recording import ROWS
from .scores import Sampled, score

PACKAGE = __package__
DIGITS = 6
CALIBRATION = 24  # cases, which nobody is judged by


def report(
    cases: int, only: Sequence[str] = (), gguf: Path | None = None, models: Path | None = None, jobs: int = 1
) -> tuple[dict, Frames]:
    """(report, frames for the contact sheet).

    The report's "contestants" have the fields of measure.measure and scores.score, or an "error"; its "wide" is what
    wide.measure gives. `only`: parts of contestants' names, the baseline runs anyway; `gguf`: the folder of
    ComfyUI-GGUF; `models`: a ComfyUI models folder with the demo's files, None writes them; `jobs`: contestants at a
    time, of which nobody's time and memory are measured where that is more than one. Raises FidelityError where a file
    of the demo is missing, if `only` names nobody or if the baseline fails.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if models is None:
            models = Path(folder) / "models"
            assets.write(models)
        return Run(Path(folder), models, cases, gguf, jobs).report(only)


class Run:
    """What the contestants of one comparison share: `folder` for everything that is written."""

    def __init__(self, folder: Path, models: Path, cases: int, gguf: Path | None, jobs: int = 1):
        self._folder = folder
        self._models = models
        drawn = pick(cases + CALIBRATION)
        self._cases, self._others = drawn[:cases], drawn[cases:]
        self._gguf = gguf
        self._jobs = jobs
        # ComfyUI's memory management is for one thread
        self._decoding = threading.Lock()
        # the baseline, which runs first, writes it
        calibration = folder / "calibration.safetensors"
        self._source = files.Source.read(self._demo_file("t2v", ORIGINAL), calibration)
        self._layers = files.selected(self._source.tensors)
        self._vae = comfy.sd.VAE(sd=comfy.utils.load_torch_file(str(self._demo_file("vae", ORIGINAL))))

    def report(self, only: Sequence[str]) -> tuple[dict, Frames]:
        rows = self._rows(only)
        with torch.inference_mode():
            layers = wide.measure(rows, progress=partial(tqdm, desc="wide layers", leave=False, disable=None))
        for text in tqdm(dict.fromkeys(row.text for row in rows), desc="prompts", leave=False, disable=None):
            self._encode(text)
        frames, true, scored = Frames(self._cases), None, []
        measured = tqdm(self._measured(rows), "fidelity", len(rows), disable=None)
        for row, (result, sampled) in zip(rows, measured, strict=True):
            if row == BASELINE:
                if sampled is None:
                    raise FidelityError(f"The baseline failed: {result['error']}")
                true = sampled
            if sampled is not None:
                result |= score(self._cases, true, sampled)
                frames.add(row.name, sampled.videos)
            scored.append(result)
        return self._with_settings(scored, layers), frames

    def _measured(self, rows: Sequence[Contestant]) -> Iterator[tuple[dict, Sampled | None]]:
        """What `_measure` gives, in the order of `rows`."""
        if self._jobs == 1:
            yield from map(self._measure, rows)
            return
        # the first writes what others go by
        yield self._measure(rows[0])
        with ThreadPoolExecutor(self._jobs) as pool:
            yield from pool.map(self._measure, rows[1:])

    def _rows(self, only: Sequence[str]) -> list[Contestant]:
        device = comfy.model_management.get_torch_device()
        rows = contestants(describe(device), computing(device), self._gguf is not None)
        unknown = [part for part in only if not any(part in row.name for row in rows)]
        if unknown:
            names = ", ".join(row.name for row in rows)
            raise FidelityError(f"No contestant is called like {unknown[0]!r}. Those that run here: {names}.")
        return [row for row in rows if row == BASELINE or not only or any(part in row.name for part in only)]

    def _demo_file(self, field: str, kind: str) -> Path:
        path = self._models / assets.FOLDERS[field] / getattr(assets.names(kind), field)
        if not path.is_file():
            raise FidelityError(f"{path.name}, a file of the demo, is not in {path.parent}: leave --models out.")
        return path

    def _prompts(self, text: str) -> Path:
        return self._folder / f"prompts-{text}.safetensors"

    def _encode(self, text: str) -> None:
        captions = json.dumps(sorted({case.scene.caption for case in (*self._cases, *self._others)}))
        arguments = [text, str(self._demo_file("t5", text)), captions, str(self._prompts(text))]
        problem = _python("encode", *arguments)
        if problem is not None:
            raise FidelityError(f"The text encoder {text} failed: {problem}")

    def _measure(self, row: Contestant) -> tuple[dict, Sampled | None]:
        """A row's own figures and what it sampled; its `error`, and None, if it failed."""
        work = Path(tempfile.mkdtemp(dir=self._folder))
        own = row.file != ORIGINAL
        result = {"name": row.name, "loader": row.loader, "format": row.file, "scheme": row.scheme, "auto": row.auto}
        result |= {"stored": row.stored, "text": row.text, "error": None}
        file = files.write(row, self._source, work) if own else self._source.path
        weights = sum(self._source.tensors[f"{layer}.weight"].numel() for layer in self._layers)
        result |= {"file_mb": file.stat().st_size / 1e6, "bits": bits_per_weight(file, self._layers, weights)}
        job = Job(
            contestant=asdict(row),
            file=str(file),
            original=str(self._source.path),
            conditioning=str(self._prompts(row.text)),
            cases=_as_list(self._cases),
            others=_as_list(self._others),
            recording=str(self._folder / "recording.safetensors"),
            calibration=str(self._source.calibration),
            record=row == BASELINE,
            timed=self._jobs == 1,
            gguf=str(self._gguf or ""),
            folder=str(work),
        )
        (work / "job.json").write_text(json.dumps(asdict(job)), encoding="utf-8")
        problem = _python("worker", str(work / "job.json"))
        if own:
            file.unlink()
        if problem is not None:
            return result | {"error": problem}, None
        measured = json.loads((work / RESULT).read_text(encoding="utf-8"))
        latents = load_file(work / LATENTS)["latents"]
        text = load_file(self._prompts(row.text))
        return result | measured, Sampled(latents, self._decode(latents), text)

    @torch.inference_mode()
    def _decode(self, latents: torch.Tensor) -> torch.Tensor:
        """[cases, ...] -> videos [cases, frames, height, width, 3] in 0 to 1, each decoded alone."""
        with self._decoding:
            return torch.cat([self._vae.decode(one.unsqueeze(0)).float().cpu() for one in latents]).clamp(0, 1)

    def _with_settings(self, scored: list[dict], layers: list[dict]) -> dict:
        facts = with_machine([], "")
        del facts["cases"]
        sampling = {name.lower(): getattr(recipe, name) for name in ("STEPS", "CFG", "SHIFT", "SAMPLER", "SCHEDULER")}
        return {
            "contestants": _rounded(scored),
            "wide": _rounded(layers),
            "promises": promises(scored, layers, len(self._cases)),
            "missing": list(dict.fromkeys(missing(self._gguf is not None).values())),
            "settings": {
                "baseline": BASELINE.name,
                "cases": len(self._cases),
                "held_out": sum(case.held_out for case in self._cases),
                "recorded_rows": ROWS,
                "parameters": sum(tensor.numel() for tensor in self._source.tensors.values()),
                **sampling,
            },
            **facts,
        }


def _as_list(cases: Sequence[Case]) -> list[list]:
    return [[case.scene.caption, case.seed] for case in cases]


def _rounded(value):
    """The same, its floats with DIGITS significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    return [_rounded(part) for part in value] if isinstance(value, list) else value


def _python(module: str, *arguments: str) -> str | None:
    """Run a module of this package in a fresh interpreter; None, or the last line of what it complained about."""
    command = [sys.executable, "-m", f"{PACKAGE}.{module}", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode == 0:
        return None
    complaint = [line for line in done.stderr.splitlines() if line.strip()]
    said = complaint[-1].strip() if complaint else "it said nothing"
    return said if done.returncode == 1 else f"{said} (it ended with status {done.returncode})"
