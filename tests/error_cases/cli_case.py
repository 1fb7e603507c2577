"""Where a command of x2v-quant is typed, and what it is typed with."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from x2v_quant.demo import assets

from .place import Place, demo

OUT, MODEL, NOWHERE = "out.safetensors", "model.safetensors", "nowhere.safetensors"


@dataclass(frozen=True)
class Desk:
    """`folder`: where a command works. `models`: ComfyUI's, with the demo's files."""

    folder: Path
    models: Path

    def put(self, name: str, content) -> str:
        path = self.folder / name
        Place(self.models.parent, "").write(path, content)
        return str(path)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def demo(self, field: str, kind: str = assets.ORIGINAL) -> str:
        return str(self.models / assets.FOLDERS[field] / getattr(assets.names(kind), field))


@dataclass(frozen=True)
class Typed:
    """`make`: the words behind x2v-quant. `words`: parts of what it says, in their order. `status`: how it ends."""

    make: Callable[[Desk], list[str]]
    words: tuple[str, ...]
    status: int = 1


def convert(content, options: str | Callable[[Desk], str], *words: str, name: str = MODEL, out: str = OUT) -> Typed:
    """Converts a file. content: of Place.put, or None for the demo's unquantized model. options: with "|" between."""

    def make(desk: Desk) -> list[str]:
        source = desk.demo("t2v") if content is None else desk.put(name, content)
        more = options(desk) if callable(options) else options
        return ["convert", source, desk.path(out), *more.split("|")]

    return Typed(make, words)


def compare(candidate: Callable[[Desk], str], options: str, *words: str) -> Typed:
    small = ["--size", "64", "64", "--steps", "2"]
    return Typed(
        lambda desk: ["compare", desk.demo("t2v"), candidate(desk), *small, *filter(None, options.split("|"))], words
    )


def lacking(desk: Desk) -> str:
    """An unquantized model without a tensor that tells its size."""
    return desk.put(MODEL, demo("t2v", lambda tensors: tensors.pop("blocks.0.ffn.0.weight"), "bf16"))
