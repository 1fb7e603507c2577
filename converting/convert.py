"""x2v-quant convert: a model's file, or a folder of them, becomes a quantized one."""

import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..checkpoints import Checkpoint, CheckpointError, Problem, is_part, open_checkpoint
from ..checkpoints.endings import SAFETENSORS
from ..families import UNRECOGNISED
from ..reports.soundness import UNTRIED, outline_of
from ..rounding import AUTO
from ..writing import check_path
from . import packages
from .duration import Duration
from .errors import ConvertError
from .fingerprint import fingerprint
from .job import Job
from .options import Options
from .source import Source
from .writer import Writer, reserved

Progress = Callable[[int, int], None]


def convert(
    source: Path,
    target: Path,
    options: Options,
    progress: Progress = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
) -> dict:
    """Write the model at `source` to `target`; the source is only read. progress(work done, work in all), of
    Unit.work; say(line): how long it will take, before it begins, unless values are only rounded to the nearest.

    Returns {"source", "target", "kind", "model", "family", "dialect", "formats": {format: layers}, "layers": {layer:
    format}, "rounding": {method: layers}, "kept": {layer: reason}, "chosen": what search.described says, "notes",
    "source_bytes", "bytes", "seconds", "estimated_seconds"}; the last is 0 for what is quick. A search or a calibration
    first tells progress the bytes that are measured, up to the last, then those that are written. Raises
    CheckpointError for a source that cannot be read, RuleError for overrides, WriteError for a target that has no name
    or another writer, ConvertError for everything else that stands in the way.
    """
    started = time.perf_counter()
    checkpoint = _open(source)
    size = sum(file.stat().st_size for file in checkpoint.files)
    _check_target(source, target, checkpoint, options)
    _check_search(options)
    with reserved(target), Source(checkpoint) as opened:
        if options.package == packages.FILE and is_part(target):
            raise ConvertError(f"{target.name} is the name of a part of a model, not of a whole one: choose another.")
        duration = Duration(say)
        job = Job(opened, options)
        _check_loads(checkpoint)
        duration.foresee(job.foreseen())
        job.measure(progress)
        units = duration.timed(job.units(), job.works())
        stem = target.stem if options.package == packages.FILE else target.name
        contents = packages.files(units, options.package, stem, options.shard_bytes)
        single = options.package == packages.FILE
        writer = Writer(
            target,
            contents,
            job.metadata(units),
            single,
            fingerprint(checkpoint, units, job, options),
            options.resume,
            options.overwrite,
            partial(_try, single, target, job.notes),
        )
        done, total = 0, sum(unit.work for unit in units)

        def advance(work: int) -> None:
            nonlocal done
            done += work
            progress(done, total)

        writer.write(advance)
    return {
        "source": str(source),
        "target": str(target),
        "kind": checkpoint.kind,
        "model": checkpoint.model,
        "family": job.selection.family,
        "dialect": options.dialect,
        "formats": dict(Counter(job.formats.values())),
        "layers": job.formats,
        "rounding": dict(Counter(method.name for method in job.methods.values())),
        "kept": job.kept,
        "chosen": job.chosen,
        "notes": job.notes + checkpoint.rescaled.notes(),
        "source_bytes": size,
        "bytes": writer.bytes,
        "seconds": time.perf_counter() - started,
        "estimated_seconds": duration.estimated,
    }


def _open(source: Path) -> Checkpoint:
    """The checkpoint if there is nothing wrong with it; one of an unknown family is nothing wrong."""
    checkpoint = open_checkpoint(source)
    known = checkpoint.family is not UNRECOGNISED
    for problem in checkpoint.problems:
        if known or problem.remedy != UNRECOGNISED.elsewhere:
            raise problem.error()
    return checkpoint


def _check_loads(checkpoint: Checkpoint) -> None:
    """Raise CheckpointError for a source of which no model can be made, as none could of what would be written."""
    outline = outline_of(replace(checkpoint, problems=[]))
    if outline.problems:
        raise outline.problems[0].error()


def _try(single: bool, target: Path, notes: list[str], written: Path) -> None:
    """Raise ConvertError if the loaders would refuse what was written; what else they would say goes to `notes`."""
    problem = _refusal(single, notes, written)
    if problem is not None:
        remedy = "Choose another format or dialect, and report this."
        told = str(replace(problem, remedy=remedy)).replace(written.name, target.name)
        raise ConvertError(f"What was written would not load, and is not kept: {told}")


def _refusal(single: bool, notes: list[str], written: Path) -> Problem | None:
    """In the words of the loader. What a model wants beside it is a note, as it may be put there later. Nothing of the
    file is held afterwards: Windows renames no file that is mapped."""
    try:
        checkpoint = open_checkpoint(written, unnamed=single)
    except CheckpointError as error:
        return error.problem
    wanted = {companion.name for companion in checkpoint.family.companions}
    notes += [str(problem) for problem in checkpoint.problems if problem.key in wanted]
    checkpoint.problems = [problem for problem in checkpoint.problems if problem.key not in wanted]
    outline = outline_of(checkpoint)
    notes += [note for note in outline.notes if note == UNTRIED]
    return outline.problems[0] if outline.problems else None


def _check_target(source: Path, target: Path, checkpoint: Checkpoint, options: Options) -> None:
    check_path(target)
    single = options.package == packages.FILE
    if single and target.suffix.lower() not in SAFETENSORS:
        raise ConvertError(f"{target.name} is not a name for a model file: end it in .safetensors, or write shards.")
    if not single and target.suffix.lower() in SAFETENSORS:
        raise ConvertError(f"{target.name} would be a folder of files: give it a name without {target.suffix}.")
    files = [source, *checkpoint.files, *(file for file, _ in options.loras)]
    if os.path.realpath(target) in {os.path.realpath(place) for file in files for place in (file, file.parent)}:
        raise ConvertError(f"{target} is the source itself, which is never changed: choose another target.")
    if source.is_dir() and os.path.realpath(target.parent) == os.path.realpath(source):
        raise ConvertError(f"{target} would lie among the files of the source: choose a place outside {source.name}/.")
    if target.is_dir() and (single or target.is_symlink() or any(target.iterdir())):
        raise ConvertError(f"{target} is a folder that is there already: choose another name, or empty it.")
    if os.path.lexists(target) and not single and not target.is_dir():
        raise ConvertError(f"{target} is there already and is no folder: choose another name.")
    if os.path.lexists(target) and single and not options.overwrite:
        raise ConvertError(f"{target} is there already: choose another name, or say --overwrite.")


def _check_search(options: Options) -> None:
    if options.target_snr is not None and options.target_size is not None:
        raise ConvertError("Layers are searched for an SNR or for a size, not for both: leave one of them out.")
    if options.searches and options.format is not None:
        raise ConvertError(f"A search finds the formats itself: leave {options.format} out, or name it a candidate.")
    if options.searches and options.rotation != AUTO:
        raise ConvertError(
            "A search finds the formats itself: leave the rotation out, or name int8-convrot a candidate."
        )
    if options.candidates and not options.searches:
        raise ConvertError("Candidates are what a search chooses from: give it a target, an SNR or a size.")
