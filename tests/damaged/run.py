"""The damaged files by number: the same number gives the same file, whatever came before it."""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import folders, frames, headers, torch_files, values
from .editable import Editable
from .sources import FILE, SOURCES, Source

Damage = Callable[[random.Random, dict[str, bytes]], dict[str, bytes]]


@dataclass(frozen=True)
class Damaged:
    """`path`: the file, or the folder, as it was written; `source` and `damage`: keys of the tables."""

    number: int
    source: str
    damage: str
    loader: str
    path: Path


@cache
def source(name: str) -> Source:
    return SOURCES[name]()


def damages_of(files: dict[str, bytes]) -> dict[str, Damage]:
    """What can be done to these files, by the name of the damage."""
    found: dict[str, Damage] = {}
    if len(files) > 1:
        found |= folders.DAMAGES
    if any(name.endswith(".pth") for name in files):
        return found | {name: _on_bytes(damage) for name, damage in torch_files.DAMAGES.items()}
    found |= {name: _on_bytes(damage) for name, damage in frames.DAMAGES.items()}
    return found | {name: _on_header(damage) for name, damage in (headers.DAMAGES | values.DAMAGES).items()}


def _on_bytes(damage) -> Damage:
    def apply(rng: random.Random, files: dict[str, bytes]) -> dict[str, bytes]:
        name = _model(rng, files)
        return {**files, name: damage(rng, files[name])}

    return apply


def _on_header(damage) -> Damage:
    def apply(rng: random.Random, files: dict[str, bytes]) -> dict[str, bytes]:
        name = _model(rng, files)
        file = Editable.of(files[name])
        damage(rng, file)
        return {**files, name: file.to_bytes()}

    return apply


def _model(rng: random.Random, files: dict[str, bytes]) -> str:
    return rng.choice([name for name in files if not name.endswith(".json")])


def damaged_files(numbers: Iterable[int], folder: Path) -> Iterator[Damaged]:
    """Writes each below `folder` and yields it; it is gone when the next one comes."""
    for number in numbers:
        rng = random.Random(number)
        name = list(SOURCES)[number % len(SOURCES)]
        held = source(name)
        damage = rng.choice(list(damages_of(held.files)))
        files = damages_of(held.files)[damage](rng, dict(held.files))
        place = folder / f"{number}"
        place.mkdir()
        for file, content in files.items():
            (place / file).write_bytes(content)
        single = next(iter(held.files)) if len(held.files) == 1 else ""
        yield Damaged(number, name, damage, held.loader, place / single if single else place)
        for file in place.iterdir():
            file.unlink()
        place.rmdir()


__all__ = ["FILE", "Damaged", "damaged_files", "source"]
