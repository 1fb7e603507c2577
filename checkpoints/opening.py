"""Files -> a checkpoint: what their headers tell, sorted."""

import math
import re
from dataclasses import replace
from pathlib import Path

from ..families import UNRECOGNISED
from ..families.family import UNKNOWN, Naming
from ..families.recognise import Told, find_prefix, identify
from ..families.rules import targets
from . import embedding, joining, scaled
from .added import find_added
from .checkpoint import Checkpoint
from .embedding import Embedding
from .errors import Problem
from .layers import Findings, find_layers
from .markers import HEADER_KEY, WHOLE_FILE, profile_note
from .nearest import nearest
from .reader import read_contents
from .scaled import find_scaled
from .stored import StoredLayer
from .tensor_info import MARKER_SUFFIX, WEIGHT, Contents, TensorInfo
from .unused import note as unused_note
from .unused import unused
from .unwrapping import model_shapes, unwrap
from .weights import QuantizedLayer

# settings that newer releases of ComfyUI keep beside a module's weights
ATTENTION_SETTINGS = re.compile(r"(.*\.)?comfy_attention\..+")

# of a remedy that names another node
LOADER = "use Load "


def open_checkpoint(path: str | Path, unnamed: bool = False) -> Checkpoint:
    """Read the headers of a file or folder, never its weights. unnamed: it is a safetensors file that the pack is
    writing and has given no name yet.

    Raises CheckpointError where nothing sensible can be read; what is wrong with the tensors is in `problems`.
    """
    path = Path(path)
    files, contents = read_contents(path, unnamed)
    unwrapped = unwrap(contents)
    contents = unwrapped.contents
    tensors = contents.tensors
    prefix = find_prefix(tensors)
    told = identify(*model_shapes(tensors))
    family, naming = told.family, told.naming
    for module, others in family.tied.items():
        unwrapped.tie(module, others)
    counts = {key.removeprefix(prefix): math.prod(info.shape) for key, info in tensors.items()}
    left = [prefix + name for name in unused(told, counts)]
    for key in left:
        del tensors[key]
    beside = [key for key in tensors if key.startswith(family.beside)]
    for key in beside:
        del tensors[key]
    added = find_added(path, told, prefix, tensors)
    tensors.update(added.infos(files[0]))
    settings = [key for key in tensors if ATTENTION_SETTINGS.fullmatch(key)]
    taken = [
        key
        for key in tensors
        if not ATTENTION_SETTINGS.fullmatch(key) and targets(naming.before_reading, key.removeprefix(prefix))
    ]
    folded, consumed = find_scaled(tensors, taken)
    found = find_layers(contents, prefix, [key for key in taken if key not in folded and key not in consumed])
    found.folded |= folded
    found.consumed |= consumed
    alien = _not_cores(contents, prefix, found)
    problems = _misplaced(path, told, prefix, tensors, alien) + added.problems + found.problems
    embeddings = _embeddings(found, naming, prefix)
    layers = {}
    for stored in found.layers:
        layers.update(_renamed(stored, naming, prefix, tensors[stored.weight_key], problems))
    kept = _kept(taken, found, naming, prefix, tensors, problems)
    profile = profile_note(contents.metadata)
    upcast = embedding.note(len(embeddings)) + scaled.note(len(folded))
    aloud = contents.aloud + found.aloud + upcast
    notes = contents.notes + unused_note(left) + upcast + added.notes + found.notes + ([profile] if profile else [])
    if beside:
        notes.append(f"{len(beside)} tensors of other models ({beside[0]}, ...) are left to ComfyUI's loaders of those")
    if settings:
        notes.append(f"{len(settings)} attention settings of newer ComfyUI ({settings[0]}, ...) are not applied here")
    if naming.joins:
        plain = {key.removeprefix(prefix): key for key in kept}
        unfit, joined = joining.find_problems(naming.table, layers, plain, tensors)
        problems, notes = problems + unfit, notes + joined
    problems = [replace(problem, key=unwrapped.keys.get(problem.key, problem.key)) for problem in problems]
    return Checkpoint(
        path,
        files,
        told,
        prefix,
        contents.metadata,
        tensors,
        layers,
        kept,
        problems,
        notes,
        found.folded,
        added.values,
        aloud=aloud,
        keys=unwrapped.keys,
        nested=contents.nested,
        settings=settings,
    )


def _embeddings(found: Findings, naming: Naming, prefix: str) -> dict[str, Embedding]:
    """Key -> the quantized lookup table, moved from the layers to what is folded."""

    def is_one(stored: StoredLayer) -> bool:
        places = targets(naming.before_reading, f"{stored.name.removeprefix(prefix)}{WEIGHT}")
        return embedding.is_read(stored) and any(
            embedding.NAMES.fullmatch(place.name.removesuffix(WEIGHT)) for place in places
        )

    tables = {stored.weight_key: Embedding(stored) for stored in found.layers if is_one(stored)}
    found.layers = [stored for stored in found.layers if stored.weight_key not in tables]
    found.consumed -= tables.keys()
    found.folded |= tables
    return tables


def _not_cores(contents: Contents, prefix: str, found: Findings) -> str:
    """The key of a quantized layer that core's loaders do not read, "" if they read all: they take what is marked, and
    codes without a scale."""
    if (
        any(key.endswith(MARKER_SUFFIX) for key in contents.markers)
        or contents.tensors.keys() & {WHOLE_FILE, prefix + WHOLE_FILE}
        or HEADER_KEY in contents.metadata
    ):
        return ""
    faults = (problem.key for problem in found.problems)
    return next((stored.weight_key for stored in found.layers if len(stored.keys) > 1), next(faults, ""))


def _misplaced(path: Path, told: Told, prefix: str, tensors: dict[str, TensorInfo], alien: str) -> list[Problem]:
    """A model that is none of ours, or a file that holds more than a diffusion model. alien: see _not_cores."""
    problems = []
    if told.kind == UNKNOWN:
        like = nearest(key.removeprefix(prefix) for key in tensors) if told.family is UNRECOGNISED else ""
        remedy = told.family.elsewhere
        if LOADER in remedy and path.is_dir():
            remedy += " That reads no folders: get it as one file in 16 bits."
        elif LOADER in remedy and alien:
            remedy += f" That reads no quantized layers like {alien}: get it in 16 bits."
        problems.append(Problem(path.name, "", f"is {told.model}{like}", remedy))
    outside = next((key for key in tensors if not key.startswith(prefix) and key != WHOLE_FILE), None)
    if outside is not None:
        cause = f"is not part of the diffusion model ({prefix}*)"
        remedy = "Take a file with the diffusion model alone."
        if not alien and path.is_file():
            remedy = f"Put it into models/checkpoints and use Load Checkpoint, or t{remedy[1:]}"
        problems.append(Problem(tensors[outside].file.name, outside, cause, remedy))
    return problems


def _renamed(
    stored: StoredLayer, naming: Naming, prefix: str, info: TensorInfo, problems: list[Problem]
) -> dict[str, QuantizedLayer]:
    """The layers of ComfyUI's model that one stored layer becomes; what is wrong with them goes to `problems`."""
    layers = {}
    rows, columns = stored.shape
    together = stored.encoding.rows
    for target in targets(naming.before_reading, f"{stored.name.removeprefix(prefix)}{WEIGHT}"):
        name = target.name.removesuffix(WEIGHT)
        if embedding.NAMES.fullmatch(name):
            remedy = "Get the model with its embedding unquantized."
            problems.append(Problem(info.file.name, stored.weight_key, "is a quantized embedding", remedy))
            return {}
        count = target.source.count
        if count > 1 and rows % (count * together):
            each = f" of a multiple of {together}" if together > 1 else ""
            cause = f"has {rows} {stored.encoding.format} rows, which do not make {count} layers{each}"
            remedy = "Get the model in another format." if together > 1 else "The file is damaged: download it again."
            problems.append(Problem(info.file.name, stored.weight_key, cause, remedy))
            return {}
        layers[name] = QuantizedLayer(name, stored, (rows // count, columns), target.source)
    return layers


def _kept(
    taken: list[str],
    found: Findings,
    naming: Naming,
    prefix: str,
    tensors: dict[str, TensorInfo],
    problems: list[Problem],
) -> list[str]:
    """Keys of the unquantized tensors. Two that get the same name in ComfyUI go to `problems`, and one that cannot be
    split into equal parts."""
    kept = [key for key in taken if key not in found.consumed]
    plain = set(kept)
    origin: dict[str, str] = {}
    named = {key: key for key in kept} | {layer.weight_key: f"{layer.name}{WEIGHT}" for layer in found.layers}
    for key, name in named.items():
        for target in targets(naming.before_reading, name.removeprefix(prefix)):
            file, shape = tensors[key].file.name, tensors[key].shape
            other = origin.setdefault(target.name, key)
            if other != key:
                remedy = "The file mixes two ways of naming: download it again."
                problems.append(Problem(file, key, f"is the same tensor as {other}", remedy))
            rows = target.source
            if key in plain and rows.index == 0 and rows.count > 1 and (not shape or shape[0] % rows.count):
                cause = f"has shape {list(shape)}, whose rows do not make {rows.count} layers"
                problems.append(Problem(file, key, cause, "The file is damaged: download it again."))
    return kept
