"""The entry `config` in a file's metadata: untrusted JSON from which core takes sizes that weights do not tell."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..checkpoints import CheckpointError, Problem, Weights
from ..common.limits import MODEL_LAYERS, MODEL_SIZE

CONFIG, SIZES = "config", "transformer"
# the one size of a Wan model that core does not infer from the weights, and core's default
TEXT_DIM, WAN_TEXT_DIM = "text_dim", 4096
TEXT = "text_embedding.0"
EITHER = "The file is incomplete, or config in its metadata is of another model: get it again, or without that entry."
OTHER_FILE = "Get this model as another file, or without that entry."
# torch's words in an error for an impossible tensor size
NO_SIZE = re.compile("negative dimension|overflow")


def with_config(weights: Weights, name: str) -> dict[str, str]:
    """The file's metadata, with the text width of a Wan model taken from its weights. Raises CheckpointError for sizes
    that no model has."""
    metadata = dict(weights.metadata)
    table = _table(metadata.get(CONFIG, "{}"))
    if table is None:
        return metadata
    tensors = len(weights.plain) + len(weights.quantized)
    key = next((str(key) for key, value in _numbers(table[SIZES]) if not 0 <= value <= _limit(key, tensors)), None)
    if key is not None:
        cause = f"in its metadata asks for a model of {key[:40]!r} that is larger than any model has"
        raise Problem(name, CONFIG, cause, OTHER_FILE).error()
    text = weights.plain.get(f"{TEXT}.weight", weights.quantized.get(TEXT))
    if text is not None and len(text.shape) == 2 and (CONFIG in metadata or text.shape[1] != WAN_TEXT_DIM):
        metadata[CONFIG] = json.dumps({**table, SIZES: {**table[SIZES], TEXT_DIM: text.shape[1]}})
    return metadata


@contextmanager
def blamed(metadata: dict[str, str]) -> Iterator[None]:
    """Context manager around building a model. If tensors do not fit and the metadata has sizes other than the text
    width, the CheckpointError says that either may be wrong."""
    try:
        yield
    except CheckpointError as error:
        table = _table(metadata.get(CONFIG, "{}"))
        if table is None or not table[SIZES].keys() - {TEXT_DIM} or error.problem.key == CONFIG:
            raise
        raise replace(error.problem, remedy=EITHER).error() from error


def is_of_sizes(error: Exception) -> bool:
    """Whether an error in building a model is due to the sizes in the metadata, not to memory or tensor shapes."""
    return not isinstance(error, RuntimeError) or isinstance(error, RecursionError) or bool(NO_SIZE.search(str(error)))


def _table(text: str) -> dict | None:
    """The parsed configuration with its sizes as a dict (core also takes a list of pairs); None if it is malformed,
    which core refuses where it reads it."""
    try:
        table = json.loads(text)
        return {**table, SIZES: dict(table.get(SIZES, {}))}
    except (ValueError, RecursionError, TypeError, AttributeError):
        return None


def _numbers(sizes: dict) -> list[tuple[str, int | float]]:
    """(name, number) pairs, also for numbers in lists and tables under a name."""
    left, found = list(sizes.items()), []
    while left:
        key, value = left.pop()
        if isinstance(value, int | float):
            found.append((key, value))
        elif isinstance(value, list | dict):
            left += [(key, inner) for inner in (value.values() if isinstance(value, dict) else value)]
    return found


def _limit(key: str, tensors: int) -> int:
    """The largest allowed value of a size; a number of layers cannot exceed the number of tensors."""
    return min(MODEL_LAYERS, tensors) if "layers" in key or "blocks" in key else MODEL_SIZE
