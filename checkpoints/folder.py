"""Which files make up the model at a path: one file, the shards an index names, or LightX2V's blocks."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .endings import INDEX_SUFFIX, KINDS, SAFETENSORS, TORCH
from .errors import CheckpointError, Problem
from .index_file import indexes, listed_endings, named_files, weight_map

BLOCK = re.compile(r"block_(\d+)\.safetensors")
NON_BLOCK = "non_block.safetensors"
SHARD = re.compile(r".+-\d{5}-of-(\d{5})\.(?:safetensors|sft|bin|pth|pt|ckpt)|(.+)_part\d+\.safetensors")
NUMBERED = re.compile(r"(.+)-(\d{5})-of-(\d{5})(\.\w+)")


@dataclass
class ModelFiles:
    """`index`: tensor name -> file name as an index json has it, empty without one."""

    files: list[Path]
    index: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def model_files(path: Path) -> ModelFiles:
    """Raises CheckpointError if `path` is no model, part of one, incomplete, or a folder with more than one."""
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise _no_file(path).error()
    if path.suffix.lower() == ".gguf":
        raise Problem(path.name, "", "is a GGUF file", "Load it with the ComfyUI-GGUF pack.").error()
    if path.suffix.lower() not in SAFETENSORS + TORCH:
        endings = ", ".join(SAFETENSORS + TORCH)
        raise Problem(path.name, "", "is not a model file", f"Models end in {endings}.").error()
    if is_part(path):
        folder = path.absolute().parent.name
        raise Problem(
            path.name,
            "",
            "is only a part of a model",
            f"Choose the folder {folder}/, or give the parts one of their own.",
        ).error()
    return ModelFiles([path])


def _no_file(path: Path) -> Problem:
    if path.exists():
        return Problem(path.name, "", "is a device or a pipe, no file", "Pick another file.")
    if path.is_symlink():
        return Problem(path.name, "", "is a link that leads to no file", "Pick another file.")
    return Problem(path.name, "", f"is not in {path.absolute().parent}", "Check the path.")


def is_part(path: Path) -> bool:
    """Whether a file, be it there yet or not, is only a block or a shard of its folder's model. Raises CheckpointError
    for a broken index."""
    there = os.listdir(path.parent) if path.parent.is_dir() else []
    if path.name in _parts_by_name({*there, path.name}):
        return True
    return any(path.name in names for names in map(_named_parts, indexes(path.parent)))


def part_names(folder: Path) -> set[str]:
    """The files of a folder that are only blocks or shards of its model; a broken index tells of none."""
    there = os.listdir(folder)
    found = _parts_by_name(there)
    for index in indexes(folder):
        with contextlib.suppress(CheckpointError):  # for a loader to refuse, not for a list
            found |= _named_parts(index).intersection(there)
    return found


def _parts_by_name(names: Iterable[str]) -> set[str]:
    shards = {name: match for name in names if (match := SHARD.fullmatch(name))}
    pieces = Counter(match[2] for match in shards.values() if match[2])
    blocks = {name for name in names if name == NON_BLOCK or BLOCK.fullmatch(name)}
    return blocks | {
        name for name, match in shards.items() if (int(match[1]) > 1 if match[1] else pieces[match[2]] > 1)
    }


def _named_parts(index: Path) -> frozenset[str]:
    """The files that make up a model together."""
    names = named_files(index)
    return names if len(names) > 1 else frozenset()


def _folder(folder: Path) -> ModelFiles:
    models = sorted(f for f in folder.iterdir() if f.suffix.lower() in SAFETENSORS + TORCH and f.is_file())
    found = indexes(folder)
    if len(found) > 1 and listed_endings(found[0]) == listed_endings(found[1]):
        raise _two_models(folder, found)
    if found:
        return _indexed(folder, found[0], models)
    if not models:
        raise Problem(folder.name, "", "is a folder without a model file", "Pick another one.").error()
    if any(f.name == NON_BLOCK or BLOCK.fullmatch(f.name) for f in models):
        return _blocks(folder, models)
    if len(models) == 1 and not is_part(models[0]):
        return ModelFiles(models)
    if all(NUMBERED.fullmatch(f.name) for f in models):
        return _numbered(folder, models)
    if all(SHARD.fullmatch(f.name) for f in models):
        ending = INDEX_SUFFIX if models[0].suffix in SAFETENSORS else f"{models[0].suffix}.index.json"
        remedy = f"Put the model's *{ending} beside them."
        raise Problem(folder.name, "", "has the parts of a model without their index", remedy).error()
    raise _two_models(folder, models)


def _numbered(folder: Path, shards: list[Path]) -> ModelFiles:
    """Shards without an index, whose names tell how many there are; of two editions that in safetensors files."""
    editions: dict[tuple[str, str, str], set[int]] = {}
    for stem, number, total, ending in (NUMBERED.fullmatch(f.name).groups() for f in shards):
        editions.setdefault((stem, total, ending), set()).add(int(number))
    safe = [edition for edition in editions if edition[2] in SAFETENSORS]
    if len(safe or editions) > 1:
        raise _two_models(folder, shards)
    stem, total, ending = next(iter(safe or editions))
    names = [f"{stem}-{number:05}-of-{total}{ending}" for number in range(1, int(total) + 1)]
    present = {f.name for f in shards}
    missing = next((name for name in names if name not in present), None)
    if missing is not None:
        raise Problem(folder.name, "", f"lacks {missing}", f"Download {missing} into it.").error()
    others = sorted(present - set(names))
    notes = [f"{', '.join(others)}: not read"] if others else []
    return ModelFiles([folder / name for name in names], notes=notes)


def _two_models(folder: Path, files: list[Path]):
    more = f" and {len(files) - 2} more" if len(files) > 2 else ""
    cause = f"has more than one model: {files[0].name}, {files[1].name}{more}"
    parts = part_names(folder)
    whole = next((f.name for f in files if f.suffix.lower() in SAFETENSORS + TORCH and f.name not in parts), None)
    remedy = "Give each a folder of its own" + (f", or choose a file like {whole}." if whole else ".")
    return Problem(folder.name, "", cause, remedy).error()


def _indexed(folder: Path, path: Path, models: list[Path]) -> ModelFiles:
    index = weight_map(path)
    names = sorted(set(index.values()))
    endings = listed_endings(path)
    if not names or any(Path(name).name != name or Path(name).suffix not in endings for name in names):
        cause = f"names no {KINDS[endings]} files of its own folder"
        raise Problem(path.name, "", cause, "Download it again.").error()
    present = {f.name for f in models}
    for name in names:
        if name not in present:
            remedy = f"Download {name} into {folder.name}/."
            raise Problem(path.name, "", f"names {name}, which is not there", remedy).error()
    others = sorted(present - set(names))
    notes = [f"{path.name} does not name {', '.join(others)}: not read"] if others else []
    return ModelFiles([folder / name for name in names], index, notes)


def _blocks(folder: Path, models: list[Path]) -> ModelFiles:
    numbers = {int(match[1]): f for f in models if (match := BLOCK.fullmatch(f.name))}
    blocks = set(numbers.values())
    others = [f for f in models if f not in blocks and f.name != NON_BLOCK]
    if others:
        raise _two_models(folder, [others[0], *(f for f in models if f in blocks)])
    # as many names as there are files: a number may be any
    wanted = [NON_BLOCK, *(f"block_{i}.safetensors" for i in range(len(numbers) or 1))]
    present = {f.name for f in models}
    for name in wanted:
        if name not in present:
            raise Problem(folder.name, "", f"lacks {name}", f"Download {name} into it.").error()
    return ModelFiles([folder / name for name in wanted])
