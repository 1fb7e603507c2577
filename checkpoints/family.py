"""What a row of the table of models says."""

from collections.abc import Mapping
from dataclasses import dataclass, field

DIT, T5, CLIP_VISION, UNKNOWN = "dit", "t5", "clip_vision", "unknown"


@dataclass(frozen=True)
class Variant:
    """Told by the presence of a name, or by one size of its shape."""

    model: str
    name: str
    axis: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Companion:
    """A tensor `name` that files of `source` have in a file of its own beside the model."""

    name: str
    file: str
    shape: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class Family:
    """`signs`: patterns each of which begins some name. `names`: its rename table. `joins`: the one by which layers
    become one, and tensors get ComfyUI's names, once they are read. `elsewhere`: where a model that is none of ours
    belongs. `core_reads`: core knows these names, so an unquantized file is core's to load. `beside`: how the names of
    other models begin that its files hold as well, which core's loaders of those take out of the same file.
    `companions`: what its files may lack. `tied`: module -> others with the very same weights, any of
    which may be there in its place."""

    kind: str
    model: str
    signs: tuple[str, ...]
    variants: tuple[Variant, ...] = ()
    names: str = "same"
    joins: str = ""
    elsewhere: str = ""
    core_reads: bool = True
    beside: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
