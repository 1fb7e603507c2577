"""What is known of a family of models. Data only: each family has a file beside this one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .rules import Rule, Target

if TYPE_CHECKING:
    import torch

DIT, T5, CLIP_VISION, UNKNOWN = "dit", "t5", "clip_vision", "unknown"
DIFFUSERS = " (diffusers names)"
ONLY_LIGHTX2V = "only files in LightX2V's dialect have it quantized"
# before a name of one of the encoders that a CLIP bundles
BUNDLED = r"(?:.+\.)?"


@dataclass(frozen=True)
class LightX2VNames:
    """What LightX2V calls the tensors of a model. `table`: renames ComfyUI's names to LightX2V's. `prefix`: stands
    before every name of a file. `square`: each share of a weight that LightX2V has apart is as high as wide."""

    table: tuple[Rule, ...] = ()
    prefix: str = ""
    square: bool = True

    def can_cut(self, shape: tuple[int, ...], found: list[Target]) -> bool:
        """Whether a tensor of this shape can be what goes to `found`, nowhere if that is empty."""
        parts = found[0].source.count if found else 1
        as_high = not self.square or len(shape) != 2 or shape[0] == parts * shape[1]
        return parts == 1 or (shape[0] % parts == 0 and as_high)


SAME = LightX2VNames()


@dataclass(frozen=True)
class Variant:
    """One model of a family. `model`: its name in words. `use`: what it makes of what, and the node of ComfyUI's that
    gives it that, as sentences; "" where nothing is certain. It is told by the presence of the tensor `name`, or by the
    `size` of one `axis` of its shape; without a `name` it is what no other variant is. `lora_names`: tables that rename
    ComfyUI's names to others that LoRAs have, beside LightX2V's and its own."""

    model: str
    name: str = ""
    axis: int | None = None
    size: int | None = None
    lightx2v: LightX2VNames = SAME
    lora_names: tuple[tuple[Rule, ...], ...] = ()
    use: str = ""

    def is_told(self, shapes: Mapping[str, tuple[int, ...]]) -> bool:
        """shapes: of the tensors of a file, by name."""
        shape = () if not self.name else shapes.get(self.name)
        if shape is None or self.axis is None:
            return shape is not None
        return len(shape) > self.axis and shape[self.axis] == self.size


@dataclass(frozen=True)
class Naming:
    """One way in which files of a family name their tensors. `signs`: patterns, each of which matches the beginning of
    some name. `variants`: the special ones first, the one without a sign last. `table`: renames the file's names to
    ComfyUI's. `joins`: the table is applied once the tensors are read, because it makes one layer of several (q, k and
    v). `core_reads`: ComfyUI's own loader knows these names, so it loads an unquantized file. `is_lightx2vs`: files in
    LightX2V's dialect may have these names. `computed`: tensors of ComfyUI's model that are constants of the code that
    reads these files, by ComfyUI's names."""

    signs: tuple[str, ...]
    variants: tuple[Variant, ...]
    table: tuple[Rule, ...] = ()
    joins: bool = False
    core_reads: bool = True
    is_lightx2vs: bool = True
    computed: Mapping[str, Callable[[], torch.Tensor]] = field(default_factory=dict)

    @property
    def before_reading(self) -> tuple[Rule, ...]:
        """The table where it is applied to headers already."""
        return () if self.joins else self.table

    @property
    def model(self) -> str:
        """In words, where nothing tells more."""
        return self.variants[-1].model


@dataclass(frozen=True)
class Companion:
    """A tensor `name` that files of `source` have in a file of its own beside the model."""

    name: str
    file: str
    shape: tuple[int, ...]
    source: str


@dataclass(frozen=True)
class SharingModule:
    """A module of core's whose layers get the same input tensor, by reading its code.

    From the first layer of a group to the last, nothing in `forward` writes to the group's input; what runs in between
    gets only the layers' outputs, which are new tensors. Inference mode keeps no version counters that would show a
    write, so only code that was read counts. The test prints the digest of a new release and checks this by running the
    module.

    `forward`: the function that was read, as module:name. `groups`: for each shared input the names of its layers in
    call order. `read`: `runtime.sharing.read_code.digest` of the function in the releases of ComfyUI that were read."""

    forward: str
    groups: tuple[tuple[str, ...], ...]
    read: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """`kind`: which loader takes it, UNKNOWN if none does. `elsewhere`: what to do with a file that no loader takes.
    `name`: what it is called where layers are chosen, "" if nothing is known of its layers.

    Of its layers, by patterns for whole names of ComfyUI's: `takes`: those that are quantized. `keeps`: (pattern,
    reason) for some of those, and for others whose reason the name does not tell. `lightx2v_also`: those that
    LightX2V's engine has no unquantized way for.

    Of its files: `beside`: how the names of other models begin that they hold as well, which ComfyUI's loaders of those
    take from the same file. `companions`: tensors that may lie in files beside. `tied`: module -> others with the very
    same weights, any of which may be there in its place. `wanted`: last words of names of tensors that other families'
    files carry for nothing (see checkpoints/unused.py), and that this one's model has. `idle`: names of trained tensors
    that the model does not use. `file_names`: patterns for how the names of such files begin.

    Of its modules in ComfyUI: `phases`: children of a block that run one after the other, each called as a module; the
    others are small. `sharing`: those whose layers get the same input.

    `lora_endings`: (ending of a key in its LoRAs, core's)."""

    kind: str
    namings: tuple[Naming, ...]
    elsewhere: str = ""
    name: str = ""
    takes: tuple[str, ...] = ()
    keeps: tuple[tuple[str, str], ...] = ()
    lightx2v_also: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()
    tied: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    file_names: tuple[str, ...] = ()
    phases: tuple[str, ...] = ()
    sharing: tuple[SharingModule, ...] = ()
    lora_endings: tuple[tuple[str, str], ...] = ()

    def why_kept(self, layer: str) -> str | None:
        """The reason of the first row of `keeps` for this layer; None if there is none."""
        return next((reason for pattern, reason in self.keeps if self._matches(pattern, layer)), None)

    def quantizes(self, layer: str) -> bool:
        return self.why_kept(layer) is None and any(self._matches(pattern, layer) for pattern in self.takes)

    def lightx2v_takes(self, layer: str) -> bool:
        return any(self._matches(pattern, layer) for pattern in self.lightx2v_also)

    def _matches(self, pattern: str, layer: str) -> bool:
        before = "" if self.kind == DIT else BUNDLED
        return re.fullmatch(f"{before}(?:{pattern})", layer) is not None

    @property
    def constants(self) -> set[str]:
        """Names of the tensors that some of its files leave to the code that reads them."""
        return {name for naming in self.namings for name in naming.computed}


def plain(kind: str, model: str, *signs: str, elsewhere: str = "") -> Family:
    """One that has no names but ComfyUI's."""
    return Family(kind, (Naming(signs, (Variant(model),)),), elsewhere)
