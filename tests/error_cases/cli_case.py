"""One CLI case: a command line of x2v-quant that is refused, and what it says then."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from x2v_quant.demo import assets

from .place import Place, demo

OUT, MODEL, NOWHERE = "out.safetensors", "model.safetensors", "nowhere.safetensors"


@dataclass(frozen=True)
class WorkFolder:
    """`folder`: the command's current folder. `models`: ComfyUI's, with the demo's files."""

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
class CliCase:
    """`make`: the words behind x2v-quant. `words`: parts of what it says, in their order. `status`: how it ends."""

    make: Callable[[WorkFolder], list[str]]
    words: tuple[str, ...]
    status: int = 1


def convert(
    content, options: str | Callable[[WorkFolder], str], *words: str, name: str = MODEL, out: str = OUT
) -> CliCase:
    """Converts a file. content: of Place.put, or None for the demo's unquantized model. options: with "|" between."""

    def make(work: WorkFolder) -> list[str]:
        source = work.demo("t2v") if content is None else work.put(name, content)
        more = options(work) if callable(options) else options
        return ["convert", source, work.path(out), *more.split("|")]

    return CliCase(make, words)


def compare(candidate: Callable[[WorkFolder], str], options: str, *words: str) -> CliCase:
    small = ["--size", "64", "64", "--steps", "2"]
    return CliCase(
        lambda work: ["compare", work.demo("t2v"), candidate(work), *small, *filter(None, options.split("|"))], words
    )


def lacking(work: WorkFolder) -> str:
    """An unquantized model without a tensor that tells its size."""
    return work.put(MODEL, demo("t2v", lambda tensors: tensors.pop("blocks.0.ffn.0.weight"), "bf16"))
