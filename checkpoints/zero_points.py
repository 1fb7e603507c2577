"""Whether a GPTQ file has its zero points minus one (version 1 of the format) or as they are (version 2).

What its configuration says counts, and else one vote of all layers: a model's weights are zero in the mean, and so the
mean code is the mean zero point. With the wrong version every weight is a whole step off.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import median

import torch

from ..common import limits
from .encodings.gptq import is_symmetric
from .errors import Problem
from .reader import read_file
from .stored import StoredLayer
from .tensor_info import TensorInfo

# `checkpoint_format` -> what was taken off the zero points
TAKEN_OFF = {"gptq": 1, "gptq_v2": 0}
VERSIONS = {taken: name for name, taken in TAKEN_OFF.items()}
FORMAT = "checkpoint_format"
# where a configuration is in a file's metadata and in other configurations, and what it is called beside a file
NESTED = ("quantize_config", "quantization_config", "config")
CONFIGS = ("quantize_config.json", "config.json")
# words of codes that are read of a layer, and how far from a whole number the median of all layers may be
ROWS = 8
CERTAIN = 0.3
# of a word: codes, and the largest
CODES, LARGEST = 8, 15

UNCLEAR = (
    "does not tell whether zero points are stored minus one (GPTQ version 1): codes are {:+.2f} from them in the mean, "
    "where a model has 0 or 1"
)
SAY = (
    "Put a quantize_config.json beside the file that says checkpoint_format gptq (version 1) or gptq_v2, or get the "
    "model in another format."
)
CONTRADICTED = "has zero points of {}, though {} says {} (checkpoint_format)"
CORRECT = "Correct that entry, or get the model in another format."
OTHERS = "If {} belongs to another model, move it to another folder; if not, correct that entry in it."
METADATA = "its metadata"


def taken_off(
    path: Path,
    metadata: Mapping[str, str],
    layers: Iterable[StoredLayer],
    tensors: Mapping[str, TensorInfo],
    keys: Mapping[str, str],
) -> int:
    """1 or 0: what a file, or a folder, has less in its zero points than they are. layers: its GPTQ layers; tensors,
    keys: as Checkpoint has them. Reads a few rows of each layer. Raises CheckpointError if nothing tells."""
    where, told = _configured(path, metadata)
    layers = list(layers)
    means = list(_means(layers, tensors, keys))
    if not means:
        return told or 0
    usual = median(means)
    voted = round(usual)
    clear = voted in VERSIONS and abs(usual - voted) <= CERTAIN
    key = layers[0].keys["zeros"]
    file, name = tensors[key].file.name, keys[key]
    if told is None and not clear:
        raise Problem(file, name, UNCLEAR.format(usual), SAY).error()
    if told is not None and clear and voted != told:
        remedy = CORRECT if where == METADATA else OTHERS.format(where)
        raise Problem(file, name, CONTRADICTED.format(VERSIONS[voted], where, VERSIONS[told]), remedy).error()
    return voted if told is None else told


def _means(layers: list[StoredLayer], tensors: Mapping[str, TensorInfo], keys: Mapping[str, str]) -> Iterator[float]:
    """Of each layer with zero points that tell something, how far its codes are from those in the mean."""
    mapped: dict[Path, dict[str, torch.Tensor]] = {}
    for layer in layers:
        codes, zeros = layer.weight_key, layer.keys["zeros"]
        words, groups = tensors[codes].shape[0], tensors[zeros].shape[0]
        count = min(ROWS, words)
        picked = [words * index // count for index in range(count)]
        of_groups = _rows(tensors[zeros], keys[zeros], [row * groups // words for row in picked], mapped)
        if not is_symmetric(of_groups):
            yield from _mean_distance(_rows(tensors[codes], keys[codes], picked, mapped), of_groups)


def _rows(info: TensorInfo, key: str, picked: list[int], mapped: dict[Path, dict[str, torch.Tensor]]) -> torch.Tensor:
    """Rows of an int32 tensor, and no more of its file; `mapped`: PyTorch files that were read, by path."""
    if info.offset is None:
        if info.file not in mapped:
            mapped[info.file] = read_file(info.file)
        return mapped[info.file][key][picked]
    size = info.nbytes // info.shape[0]
    data = bytearray()
    with info.file.open("rb") as file:
        for row in picked:
            file.seek(info.offset + row * size)
            data += file.read(size)
    return torch.frombuffer(data, dtype=torch.int32).view(len(picked), -1)


def _mean_distance(codes: torch.Tensor, zeros: torch.Tensor) -> list[float]:
    """Of codes from the zero points of their groups, which are int32 [M, N] and [M, N / 8]. Without the largest and the
    smallest zero points, of groups of one sign or of zeros alone: less one, 0 is stored as 15. Empty if no others are
    there."""
    low, high = (part.float() for part in _nibbles(codes.unsqueeze(2)))
    of_groups = torch.stack(_nibbles(zeros), dim=2).flatten(1)
    inner = (of_groups > 0) & (of_groups < LARGEST)
    distance = (low.sum(dim=2) + high.sum(dim=2)) / CODES - of_groups
    return [float(distance[inner].mean())] if bool(inner.any()) else []


def _nibbles(words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The low and the high ones of the bytes of int32 words."""
    octets = words.contiguous().view(torch.uint8)
    return octets & 0x0F, octets >> 4


def _configured(path: Path, metadata: Mapping[str, str]) -> tuple[str, int | None]:
    """(where, what) a configuration says of TAKEN_OFF, None if none does: of the file's metadata, or beside it."""
    own = {name: _json(text) if name in NESTED else text for name, text in metadata.items()}
    folder = path if path.is_dir() else path.absolute().parent
    beside = ((name, folder / name) for name in CONFIGS)
    read = ((name, _json(file.read_bytes())) for name, file in beside if _is_config(file))
    found = ((name, _told(config)) for name, config in [(METADATA, own), *read])
    return next((one for one in found if one[1] is not None), ("", None))


def _is_config(file: Path) -> bool:
    return file.is_file() and file.stat().st_size <= limits.CONFIG_BYTES


def _told(config: object) -> int | None:
    """Of a configuration, or one in it."""
    if not isinstance(config, dict):
        return None
    value = config.get(FORMAT)
    if isinstance(value, str) and value in TAKEN_OFF:
        return TAKEN_OFF[value]
    return next((told for name in NESTED if (told := _told(config.get(name))) is not None), None)


def _json(text: str | bytes) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
