"""x2v-quant inspect: a report on a checkpoint, from its headers, its small tensors and ComfyUI's models."""

import argparse
import re
from dataclasses import asdict
from pathlib import Path

from ..calibration import Calibration, CalibrationError
from ..checkpoints import Checkpoint, CheckpointError, Problem, open_checkpoint
from ..families.other_models import CALIBRATION, OTHER_MODELS
from ..formats import family
from ..kernels import why_not
from ..kernels.machine import Machine, default_device, describe
from ..rounding.record import Record
from ..schemes import CLIP, DIT, T5, resolve, schemes_for
from .checkpoint_text import lines, verdict
from .soundness import outline_of

__all__ = ["arguments", "inspect", "lines", "ok", "run"]

COMPONENTS = {"dit": DIT, "t5": T5, "clip_vision": CLIP}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .safetensors or .pth file, or the folder of a model in several files")


def run(options: argparse.Namespace) -> dict:
    return inspect(options.file)


def ok(report: dict) -> bool:
    return not report["problems"]


def inspect(path: str | Path) -> dict:
    """{"verdict", "path", "kind", "model", "formats": {format: layers}, "schemes", "fallbacks": {scheme: reason},
    "problems": [{file, key, cause, remedy}], "elsewhere", "loader", "notes", "rounding", "files": [{name, bytes}],
    "bytes": {total, quantized, kept}, "unread": {tensors, bytes}, "layer_groups", "kept"}. Never raises for a bad file:
    that is kind "unknown" with one problem.

    `formats`: number of layers of each format in the file. `schemes`: those for this file's formats, first those whose
    own kernel runs on this machine; `fallbacks`: why another kernel replaces that of the rest. Both are empty if there
    is a problem. `elsewhere`: where a good file belongs that is no model for this pack's loaders, a VAE for instance;
    empty for any other. `loader`: the node that takes the file, empty if there is none. `rounding`: what the file
    says of how its weights were rounded, the fields of rounding.record.Record; empty if it says nothing. `unread`:
    unquantized tensors too large to check their values; codes are never checked. Names in `layer_groups` and `kept`
    have "*" for block numbers; the `origin` of layers is what their files are known as where the format's name does not
    say it, "AutoAWQ" for instance.
    """
    report = _inspected(path)
    return {"verdict": verdict(report), **report}


def _inspected(path: str | Path) -> dict:
    try:
        return _report(open_checkpoint(path))
    except CheckpointError as error:
        return {
            "path": str(path),
            "kind": "unknown",
            "model": "unreadable",
            "formats": {},
            "schemes": [],
            "fallbacks": {},
            "problems": [asdict(error.problem)],
            "elsewhere": "",
            "loader": "",
            "notes": [],
            "rounding": {},
            "files": [],
            "bytes": {"total": 0, "quantized": 0, "kept": 0},
            "unread": {"tensors": 0, "bytes": 0},
            "layer_groups": [],
            "kept": [],
        }


def _report(checkpoint: Checkpoint) -> dict:
    groups, kept = _layer_groups(checkpoint), _kept_groups(checkpoint)
    outline = outline_of(checkpoint)
    return {
        "path": str(checkpoint.path),
        "kind": checkpoint.kind,
        "model": checkpoint.model,
        "formats": checkpoint.formats,
        **_schemes(checkpoint, outline.problems),
        "problems": [asdict(problem) for problem in outline.problems],
        "elsewhere": _elsewhere(checkpoint, outline.problems),
        "loader": "" if outline.problems else checkpoint.loader,
        "notes": checkpoint.notes + outline.notes + _recorded(checkpoint),
        "rounding": asdict(record) if (record := Record.read(checkpoint.metadata)) else {},
        "files": [{"name": file.name, "bytes": file.stat().st_size} for file in checkpoint.files],
        "bytes": {
            "total": sum(info.nbytes for info in checkpoint.tensors.values()),
            "quantized": sum(group["bytes"] for group in groups),
            "kept": sum(group["bytes"] for group in kept),
        },
        "unread": {
            "tensors": len(outline.unread),
            "bytes": sum(checkpoint.tensors[key].nbytes for key in outline.unread),
        },
        "layer_groups": groups,
        "kept": kept,
    }


def _recorded(checkpoint: Checkpoint) -> list[str]:
    """What a calibration has, as a note."""
    if checkpoint.family is not CALIBRATION:
        return []
    try:
        return [f"recorded: {Calibration.load(checkpoint.path).about}"]
    except CalibrationError as error:
        return [str(error)]


def _elsewhere(checkpoint: Checkpoint, problems: list[Problem]) -> str:
    """Empty too where the loader that takes such models would not take this file."""
    family = checkpoint.family
    only = [problem.remedy for problem in problems] == [family.elsewhere]
    return family.elsewhere if only and family in OTHER_MODELS else ""


def _schemes(checkpoint: Checkpoint, problems: list[Problem]) -> dict:
    """{"schemes": [...], "fallbacks": {...}}, both empty if there is a problem."""
    if problems:
        return {"schemes": [], "fallbacks": {}}
    component = COMPONENTS[checkpoint.kind]
    machine = describe(default_device())
    rows = [resolve(name, component) for name in schemes_for({family(name) for name in checkpoint.formats}, component)]
    reasons = {row.name: row.kernel and _first_reason(row.kernel, checkpoint, machine) for row in rows}
    fallbacks = {name: reason for name, reason in reasons.items() if reason}
    return {"schemes": [*(name for name in reasons if name not in fallbacks), *fallbacks], "fallbacks": fallbacks}


def _first_reason(kernel: str, checkpoint: Checkpoint, machine: Machine) -> str | None:
    """Why the kernel cannot compute one of the file's formats here; None if it can compute all."""
    reasons = (why_not(kernel, stored, machine) for stored in checkpoint.formats)
    return next((reason for reason in reasons if reason), None)


def _layer_groups(checkpoint: Checkpoint) -> list[dict]:
    """[{"group", "format", "origin", "layers", "bytes"}], bytes of all tensors of a layer."""
    groups: dict[tuple[str, str, str], dict] = {}
    for layer in {layer.weight_key: layer for layer in checkpoint.layers.values()}.values():
        name = _group(checkpoint, layer.stored.name)
        origin = layer.stored.encoding.origin
        entry = {"group": name, "format": layer.format, "origin": origin, "layers": 0, "bytes": 0}
        group = groups.setdefault((name, layer.format, origin), entry)
        group["layers"] += 1
        group["bytes"] += sum(checkpoint.tensors[key].nbytes for key in layer.stored.all_keys)
    return list(groups.values())


def _kept_groups(checkpoint: Checkpoint) -> list[dict]:
    """[{"group", "dtype", "tensors", "bytes"}]."""
    groups: dict[tuple[str, str], dict] = {}
    quantized = {layer.stored.name for layer in checkpoint.layers.values()}
    for key in checkpoint.kept:
        beside = key.endswith(".bias") and key.removesuffix(".bias") in quantized
        name = "biases of quantized layers" if beside else _group(checkpoint, key)
        info = checkpoint.tensors[key]
        group = groups.setdefault((name, info.dtype), {"group": name, "dtype": info.dtype, "tensors": 0, "bytes": 0})
        group["tensors"] += 1
        group["bytes"] += info.nbytes
    return list(groups.values())


def _group(checkpoint: Checkpoint, key: str) -> str:
    """ "blocks.7.ffn.2.weight" -> "blocks.*.ffn.2"."""
    module = re.sub(r"\.(weight|bias)$", "", key.removeprefix(checkpoint.prefix))
    return re.sub(r"\.\d+\.", ".*.", module, count=1)
