"""Finds the file or folder of the diffusion model, or of each of its two experts."""

from dataclasses import dataclass
from pathlib import Path

from ..checkpoints import Checkpoint, open_checkpoint, part_names
from ..checkpoints.expert_names import HIGH, LOW, SUBFOLDERS, expert_of
from ..formats.convert import serves
from ..schemes import DIT
from .config import Config
from .schemes import wanted_scheme
from .search_paths import DISTILLED, ORDINARY, SearchPaths, missing

KIND = "diffusion_models"
# keys that only a model of two experts has
EXPERT_KEYS = (
    "boundary",
    "boundary_step_index",
    *(f"{expert}_noise_{state}_ckpt" for expert in (HIGH, LOW) for state in ("quantized", "original")),
)


@dataclass(frozen=True)
class Found:
    """A model on disk. `note`: how it differs from what the configuration asks for."""

    path: Path
    checkpoint: Checkpoint
    note: str | None = None


def has_experts(config: Config, paths: SearchPaths) -> bool:
    if any(config.values.get(key) is not None for key in EXPERT_KEYS):
        return True
    if config.path("dit_quantized_ckpt") or config.path("dit_original_ckpt"):
        return False
    return any(_expert_folders(folder) for folder in paths.search((*DISTILLED, *ORDINARY)))


def _expert_folders(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in SUBFOLDERS.values())


def find_dit(config: Config, paths: SearchPaths, expert: str | None = None) -> Found:
    """The diffusion model: the file that the configuration names, else the one in LightX2V's folders that fits. expert:
    HIGH or LOW; None for a model without experts. Raises ConfigError, or CheckpointError for an unreadable file."""
    stem = f"{expert}_noise" if expert else "dit"
    key = f"{stem}_{'quantized' if config.quantized(DIT) else 'original'}_ckpt"
    path = paths.named(config, key, KIND)
    if path is not None:
        return _as_asked(config, _opened(config, key, path))
    if paths.folder is None:
        raise config.error(key, "is missing", "Pick the model folder, or name the file.")
    fallback: list[Checkpoint] = []
    for place in _search(config, paths, expert):
        models = [open_checkpoint(path) for path in models_in(place, expert)]
        models = [model for model in models if model.kind == DIT]
        fitting = [model for model in models if _fits(config, model)]
        if len(fitting) > 1:
            several = ", ".join(model.path.name for model in fitting)
            raise config.error(key, f"is missing, and {place.name}/ has several models: {several}", "Name one there.")
        if fitting:
            return Found(fitting[0].path, fitting[0])
        fallback += models
    if not config.quantized(DIT) and len(fallback) == 1:
        return _as_asked(config, fallback[0])
    raise _not_found(config, paths, key, expert, fallback)


def _opened(config: Config, key: str, path: Path) -> Checkpoint:
    """The model at a path that `key` names: a file, a folder of shards, or a folder with one model in it."""
    models = models_in(path, None) if path.is_dir() else [path]
    if len(models) == 1:
        return open_checkpoint(models[0])
    several = ", ".join(model.name for model in models) or "none"
    raise config.error(key, f"names the folder {path.name}/, which should have one model: {several}", "Name the file.")


def _as_asked(config: Config, checkpoint: Checkpoint) -> Found:
    """A quantized file in place of an unquantized one is taken, with a note. Raises ConfigError for the opposite."""
    note = None
    name = checkpoint.path.name
    if checkpoint.formats and not config.quantized(DIT):
        formats = " and ".join(checkpoint.formats)
        note = f"{name} is quantized ({formats}), which the configuration does not say: loaded as what it is"
    elif config.quantized(DIT) and not checkpoint.formats:
        raise config.error(
            "dit_quantized", f"is true, but {name} is not quantized", "Take its int8 or fp8 file, or set it to false."
        )
    return Found(checkpoint.path, checkpoint, note)


def _search(config: Config, paths: SearchPaths, expert: str | None) -> list[Path]:
    """Folders in the order of the search: those of distilled weights first if the schedule is a distilled one, else
    last."""
    distilled = config.values.get("denoising_step_list") is not None
    if distilled:
        order = paths.search((*DISTILLED, *ORDINARY))
    else:
        order = [*paths.search(ORDINARY), *paths.search(DISTILLED)[:-1]]
    if expert is None:
        return order
    return [place for folder in order for place in (folder / SUBFOLDERS[expert], folder)]


def models_in(folder: Path, expert: str | None) -> list[Path]:
    """Paths of the models in a folder: the folder itself if it holds the shards of one, and single files. expert: only
    files with its name, unless the whole folder is that expert's."""
    if not folder.is_dir():
        return []
    files = sorted(folder.glob("*.safetensors"))
    shards = part_names(folder)
    singles = [file for file in files if file.name not in shards]
    if expert is not None and folder.name != SUBFOLDERS[expert]:
        return [file for file in singles if expert_of(file.name) == expert]
    return ([folder] if len(singles) < len(files) else []) + singles


def _fits(config: Config, model: Checkpoint) -> bool:
    if not config.quantized(DIT):
        return not model.formats
    wanted = wanted_scheme(config, DIT)[0].format
    return bool(model.formats) and (wanted is None or all(serves(stored, wanted) for stored in model.formats))


def _not_found(config, paths, key, expert, others: list[Checkpoint]):
    what = f"{config.scheme(DIT) or 'quantized' if config.quantized(DIT) else 'unquantized'} diffusion model"
    what = f"{expert}-noise {what}" if expert else what
    there = ", ".join(f"{model.path.name} ({' and '.join(model.formats) or 'unquantized'})" for model in others)
    remedy = f"There is {there}: change dit_quant_scheme to fit, or download the other." if others else ""
    return missing(config, what, f"{paths.folder.name}/", remedy or f"Download it there, or name it with {key}.")
