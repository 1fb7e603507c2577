"""Which files make up the model at a path: one file, the shards an index names, or LightX2V's blocks."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from .errors import Problem

SAFETENSORS = (".safetensors", ".sft")
TORCH = (".pth", ".pt", ".ckpt", ".bin")
INDEX_SUFFIX = ".safetensors.index.json"
BLOCK = re.compile(r"block_(\d+)\.safetensors")
NON_BLOCK = "non_block.safetensors"
SHARD = re.compile(r".+-\d{5}-of-(\d{5})\.safetensors|(.+)_part\d+\.safetensors")


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
        raise Problem(path.name, "", "does not exist", "Pick another file.").error()
    if path.suffix == ".gguf":
        raise Problem(path.name, "", "is a GGUF file", "Load it with the ComfyUI-GGUF pack.").error()
    if path.suffix.lower() not in SAFETENSORS + TORCH:
        endings = ", ".join(SAFETENSORS + TORCH)
        raise Problem(path.name, "", "is not a model file", f"Models end in {endings}.").error()
    if is_part(path):
        folder = path.absolute().parent.name
        raise Problem(path.name, "", "is only a part of a model", f"Choose the folder {folder}/ instead.").error()
    return ModelFiles([path])


def is_part(path: Path) -> bool:
    """Whether a file is only a block or a shard of its folder's model. Raises CheckpointError for a broken index."""
    if path.name == NON_BLOCK or BLOCK.fullmatch(path.name):
        return True
    shard = SHARD.fullmatch(path.name)
    if shard and shard[1]:
        return int(shard[1]) > 1
    if shard and len(list(path.parent.glob(f"{_escaped(shard[2])}_part*.safetensors"))) > 1:
        return True
    named = [set(_weight_map(index).values()) for index in path.parent.glob(f"*{INDEX_SUFFIX}")]
    return any(path.name in names and len(names) > 1 for names in named)


def _escaped(name: str) -> str:
    """For glob: square brackets in a file name mean themselves."""
    return re.sub(r"([*?[])", r"[\1]", name)


def _folder(folder: Path) -> ModelFiles:
    models = sorted(f for f in folder.iterdir() if f.suffix.lower() in SAFETENSORS + TORCH and f.is_file())
    indexes = sorted(folder.glob(f"*{INDEX_SUFFIX}"))
    if len(indexes) > 1:
        raise _two_models(folder, indexes)
    if indexes:
        return _indexed(folder, indexes[0], models)
    if not models:
        raise Problem(folder.name, "", "is a folder without a model file", "Pick another one.").error()
    if any(f.name == NON_BLOCK or BLOCK.fullmatch(f.name) for f in models):
        return _blocks(folder, models)
    if len(models) == 1 and not is_part(models[0]):
        return ModelFiles(models)
    if all(SHARD.fullmatch(f.name) for f in models):
        remedy = f"Put the model's *{INDEX_SUFFIX} beside them."
        raise Problem(folder.name, "", "holds the parts of a model without their index", remedy).error()
    raise _two_models(folder, models)


def _two_models(folder: Path, files: list[Path]):
    more = f" and {len(files) - 2} more" if len(files) > 2 else ""
    cause = f"holds more than one model: {files[0].name}, {files[1].name}{more}"
    return Problem(folder.name, "", cause, "Keep one per folder, or choose one of the files.").error()


def _indexed(folder: Path, path: Path, models: list[Path]) -> ModelFiles:
    index = _weight_map(path)
    names = sorted(set(index.values()))
    if not names or any(Path(name).name != name or Path(name).suffix not in SAFETENSORS for name in names):
        raise Problem(path.name, "", "names no safetensors files of its own folder", "Download it again.").error()
    present = {f.name for f in models}
    for name in names:
        if name not in present:
            remedy = f"Download {name} into {folder.name}/."
            raise Problem(path.name, "", f"names {name}, which is not there", remedy).error()
    others = sorted(present - set(names))
    notes = [f"{path.name} does not name {', '.join(others)}: not read"] if others else []
    return ModelFiles([folder / name for name in names], index, notes)


def _weight_map(path: Path) -> dict[str, str]:
    try:
        index = json.loads(path.read_bytes())
    except OSError as error:
        cause = f"cannot be read: {error.strerror}"
        raise Problem(path.name, "", cause, "Check the file and its permissions.").error() from error
    except (ValueError, RecursionError) as error:
        raise Problem(path.name, "", "is no JSON", "Download it again.").error() from error
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise Problem(path.name, "weight_map", "is no table of file names", "Download it again.").error()
    return names


def _blocks(folder: Path, models: list[Path]) -> ModelFiles:
    numbers = {int(match[1]): f for f in models if (match := BLOCK.fullmatch(f.name))}
    others = [f for f in models if f not in numbers.values() and f.name != NON_BLOCK]
    if others:
        raise _two_models(folder, [others[0], *(f for f in models if f not in others)])
    wanted = [NON_BLOCK, *(f"block_{i}.safetensors" for i in range(max(numbers, default=0) + 1))]
    present = {f.name for f in models}
    for name in wanted:
        if name not in present:
            raise Problem(folder.name, "", f"lacks {name}", f"Download {name} into it.").error()
    return ModelFiles([folder / name for name in wanted])
