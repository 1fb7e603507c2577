"""Which file of a converted model each tensor goes to: one file, shards with an index, or LightX2V's blocks."""

import json
import re
from collections.abc import Sequence

from ..checkpoints.endings import INDEX_SUFFIX
from ..checkpoints.folder import NON_BLOCK
from .errors import ConvertError
from .units import Unit

FILE, SHARDS, BLOCKS = "file", "shards", "blocks"
PACKAGES = (FILE, SHARDS, BLOCKS)
SHARD_BYTES = 5_000_000_000
INDEX = f"diffusion_pytorch_model{INDEX_SUFFIX}"
# names of which LightX2V's lazy loading takes a block per file
IN_BLOCK = re.compile(r"blocks\.(\d+)\.")


def files(units: Sequence[Unit], package: str, stem: str, shard_bytes: int = SHARD_BYTES) -> dict[str, list[Unit]]:
    """File name -> what goes into it; every tensor of a unit goes into the same file.

    Raises ConvertError for blocks of a model that has none.
    """
    if package == FILE:
        return {f"{stem}.safetensors": list(units)}
    if package == SHARDS:
        return _shards(units, stem, shard_bytes)
    found: dict[str, list[Unit]] = {}
    for unit in units:
        match = IN_BLOCK.match(next(iter(unit.specs)))
        found.setdefault(f"block_{match[1]}.safetensors" if match else NON_BLOCK, []).append(unit)
    if len(found) < 2 or NON_BLOCK not in found:
        raise ConvertError("The model has no blocks (blocks.0, blocks.1, ...): write one file or shards instead.")
    return found


def index(contents: dict[str, list[Unit]]) -> bytes:
    """The JSON beside the files of a model: which tensor is in which of them."""
    table = {name: file for file, units in contents.items() for unit in units for name in unit.specs}
    total = sum(unit.nbytes for units in contents.values() for unit in units)
    return (json.dumps({"metadata": {"total_size": total}, "weight_map": table}, indent=2) + "\n").encode()


def _shards(units: Sequence[Unit], stem: str, shard_bytes: int) -> dict[str, list[Unit]]:
    shards: list[list[Unit]] = [[]]
    size = 0
    for unit in units:
        if shards[-1] and size + unit.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(unit)
        size += unit.nbytes
    return {f"{stem}-{number:05}-of-{len(shards):05}.safetensors": shard for number, shard in enumerate(shards, 1)}
