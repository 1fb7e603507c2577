"""What the pack says of a damaged file: it is refused in a sentence, or it loads and holds what the file holds."""

import logging
import re
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from comfy_kitchen.tensor import QuantizedTensor
from safetensors import SafetensorError
from safetensors.torch import load_file

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.loading.clip_vision import load_clip_vision
from x2v_quant.loading.dit import load_dit
from x2v_quant.loading.t5 import load_t5
from x2v_quant.loras import LoRAError, apply_lora, read_lora
from x2v_quant.reports.checkpoint import inspect
from x2v_quant.schemes import SchemeChoice
from x2v_quant.schemes.plan import NoKernelError, SchemeMismatchError

from .run import Damaged, source

REFUSED, LOADED, TOLD = "refused", "loaded", "loaded, told"
TRACEBACK, SILENT, SLOW, UNTRUE = "traceback", "silent", "slow", "inspect says otherwise"
BAD = (TRACEBACK, SILENT, SLOW, UNTRUE)
SENTENCES = (CheckpointError, LoRAError, NoKernelError, SchemeMismatchError)
SECONDS = 1.0  # of this process, for a small file
CHOICE = SchemeChoice(dit="dequant", t5="dequant", clip="dequant", compute_dtype="fp32")
# loader -> what it gives -> the module whose weights are compared
LOADERS: dict[str, tuple[Callable, Callable]] = {
    "dit": (lambda path: load_dit(path, CHOICE), lambda model: model.model.diffusion_model),
    "t5": (lambda path: load_t5(path, CHOICE), lambda clip: clip.cond_stage_model.umt5xxl.transformer),
    "clip_vision": (lambda path: load_clip_vision(path, CHOICE), lambda clip: clip.model),
}


@dataclass(frozen=True)
class Verdict:
    kind: str
    detail: str


class Judge:
    """Loads the sound sources once, each to compare its damaged files with."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.sound: dict[str, dict[str, torch.Tensor]] = {}
        self.plain = None

    @torch.inference_mode()
    def verdict(self, damaged: Damaged) -> Verdict:
        if damaged.loader != "lora":
            self._sound_weights(damaged.source)
        began = time.process_time()
        with warnings() as told:
            found = self._lora(damaged, told) if damaged.loader == "lora" else self._model(damaged, told)
        seconds = time.process_time() - began
        if found.kind in BAD or seconds <= SECONDS:
            return found
        return Verdict(SLOW, f"{seconds:.1f} s: {found.kind}, {found.detail}")

    def _model(self, damaged: Damaged, told: list[str]) -> Verdict:
        try:
            report = inspect(damaged.path)
        except Exception:
            return Verdict(TRACEBACK, f"inspect: {traceback.format_exc(limit=-4)}")
        problems = [f"{problem['file']} {problem['key']} {problem['cause']}" for problem in report["problems"]]
        load, module = LOADERS[damaged.loader]
        try:
            model = load(str(damaged.path))
        except SENTENCES as error:
            text = str(error)
            if not text.isprintable() or len(text) > 1000:
                return Verdict(UNTRUE, f"a message that is too long or cannot be printed: {text[:300]!r}")
            loads = not problems and report["kind"] == damaged.loader and report["layer_groups"]
            # a tokenizer may be picked, so a file without one is no problem; that is told all the same
            loads = loads and text not in report["notes"]
            return Verdict(UNTRUE, f"no problem, but {text}") if loads else Verdict(REFUSED, text)
        except Exception:
            return Verdict(TRACEBACK, f"load: {traceback.format_exc(limit=-4)}")
        silence = self._silence(damaged, module(model), [*told, *report["notes"], *problems])
        if silence:
            return Verdict(SILENT, silence)
        if problems:
            return Verdict(UNTRUE, f"loads, but {problems[0]}")
        return Verdict(TOLD if told or report["notes"] else LOADED, "; ".join([*told, *report["notes"]])[:300])

    def _silence(self, damaged: Damaged, module: torch.nn.Module, told: list[str]) -> str:
        """What is wrong with a model that has loaded, "" for nothing, or nothing that was not told."""
        loaded, sound = weights(module), self.sound[damaged.source]
        changed = changed_keys(damaged.path, self._path(damaged.source))
        if changed is None:
            return "" if told else "an independent reader refuses the file"
        stems = {key.rpartition(".")[0] for key in changed}
        for name, tensor in loaded.items():
            if name not in sound or tensor.shape != sound[name].shape:
                return f"{name} is new or of another shape"
            same = torch.equal(tensor, sound[name])
            if not same and not changed:
                return f"{name} has other values though no tensor of the file has"
            if not same and damaged.loader == "dit" and name.rpartition(".")[0] not in stems and name not in changed:
                return f"{name} has other values, changed were {sorted(changed)[:3]}"
            if not tensor.isfinite().all() and not any(said(name, line) for line in told):
                return f"{name} is not finite"
            if not same and tensor.ndim == 2 and _silent_row(tensor, sound[name]) and not told:
                return f"{name} has a row that is zero and was not"
        return ""

    def _sound_weights(self, name: str) -> None:
        if name in self.sound:
            return
        held = source(name)
        path = self._path(name)
        path.parent.mkdir(exist_ok=True)
        place = path if len(held.files) > 1 else path.parent
        place.mkdir(exist_ok=True)
        for file, content in held.files.items():
            (place / file).write_bytes(content)
        load, module = LOADERS[held.loader]
        # copies: the weights are views of a file that may go
        self.sound[name] = {key: tensor.clone() for key, tensor in weights(module(load(str(path)))).items()}

    def _path(self, name: str) -> Path:
        """Where the sound files of a source lie."""
        files = source(name).files
        place = self.folder / f"sound {name}"
        return place if len(files) > 1 else place / next(iter(files))

    def _lora(self, damaged: Damaged, told: list[str]) -> Verdict:
        if self.plain is None:
            place = self.folder / "plain.safetensors"
            place.write_bytes(source("int8").files["model.safetensors"])
            self.plain = load_dit(str(place), CHOICE)
        try:
            tensors = read_lora(damaged.path)
            made, report = apply_lora(self.plain, tensors, damaged.path.name)
        except LoRAError as error:
            text = str(error)
            return Verdict(REFUSED, text) if text.isprintable() else Verdict(UNTRUE, repr(text))
        except Exception:
            return Verdict(TRACEBACK, traceback.format_exc(limit=-4))
        counted = re.search(r"(\d+) of (\d+) keys", report.splitlines()[0])  # none: all of them
        used, keys = map(int, counted.groups()) if counted else (1, 1)
        numbers = all(tensor.float().isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())
        if not numbers and used == keys:
            return Verdict(SILENT, f"not finite: {report}")
        if used < keys and len(report.splitlines()) == 1 and not told:
            return Verdict(SILENT, f"keys not used and not told: {report}")
        try:
            made.patch_model()
        except Exception:
            return Verdict(TRACEBACK, f"merging: {traceback.format_exc(limit=-4)}")
        finally:
            made.unpatch_model()
        return Verdict(TOLD if used < keys else LOADED, report[:300])


def said(name: str, line: str) -> bool:
    return (
        name in line or name.rpartition(".")[2] in line or any(word in line for word in ("finite", "infinity", "NaN"))
    )


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Name -> what a parameter stands for, in float32."""
    return {
        name: (value.dequantize() if isinstance(value, QuantizedTensor) else value.detach()).float()
        for name, value in module.named_parameters()
    }


def changed_keys(path: Path, sound: Path) -> set[str] | None:
    """Keys whose tensors an independent reader finds to be others than in the sound files; None if it refuses."""
    try:
        now = _read(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return None
    before = _read(sound)
    return {
        key
        for key in now.keys() | before.keys()
        if key not in now
        or key not in before
        or now[key].dtype != before[key].dtype
        or now[key].shape != before[key].shape
        or not torch.equal(_bytes(now[key]), _bytes(before[key]))
    }


def _read(path: Path) -> dict[str, torch.Tensor]:
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    found = {}
    for file in files:
        if file.suffix == ".pth":
            data = torch.load(file, map_location="cpu", weights_only=True)
            data = data[0] if isinstance(data, list) and len(data) == 1 else data
            found |= {key: value for key, value in dict(data).items() if isinstance(value, torch.Tensor)}
        else:
            found |= load_file(file)
    return found


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def _silent_row(tensor: torch.Tensor, sound: torch.Tensor) -> bool:
    return bool(((tensor == 0).all(dim=1) & (sound != 0).any(dim=1)).any())


@contextmanager
def warnings():
    """The pack's own warnings while the block runs."""
    told: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("x2v-quant")
    logger.addHandler(handler)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
