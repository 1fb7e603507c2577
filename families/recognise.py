"""What family a set of tensor names belongs to: the one recogniser."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from . import FAMILIES, UNKNOWN_DIT, UNRECOGNISED
from .family import BUNDLED, DIT, Family, Naming, Variant
from .rules import Target, targets

WEIGHT = ".weight"
# what a whole ComfyUI checkpoint puts before the names of its diffusion model; longest first: the second one ends the
# first
PREFIXES = ("model.diffusion_model.", "diffusion_model.")


@dataclass(frozen=True)
class Told:
    """What a set of tensors is told to be; `model` is that in words."""

    family: Family
    naming: Naming
    variant: Variant

    @property
    def kind(self) -> str:
        return self.family.kind

    @property
    def model(self) -> str:
        return self.variant.model

    def comfyuis(self, layer: str) -> str:
        """The name of a layer, without its prefix -> ComfyUI's; the first one of several."""
        found = targets(self.naming.table, f"{layer}{WEIGHT}")
        return found[0].name.removesuffix(WEIGHT) if found else layer

    def lightx2v_targets(self, name: str) -> tuple[str, list[Target]]:
        """A name of the file, without its prefix -> (ComfyUI's name, where the tensor goes in LightX2V's file). What
        has LightX2V's name stays."""
        table = self.variant.lightx2v.table
        ours = targets(self.naming.table, name) if table else []
        if len(ours) != 1 or not ours[0].place.is_all:
            return name, [Target(name)]
        return ours[0].name, targets(table, ours[0].name)


def find_prefix(names: Iterable[str]) -> str:
    """The one of PREFIXES that stands before some name, "" without one."""
    return next((prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in names)), "")


def identify(shapes: Mapping[str, tuple[int, ...]], quantized: bool) -> Told:
    """shapes: of tensors, by names without their prefix. quantized: there are quantized linear layers, which makes a
    model that no family describes a diffusion model."""
    told = recognise(shapes) or _as(UNKNOWN_DIT if quantized else UNRECOGNISED)
    return replace(told, variant=next(variant for variant in told.naming.variants if variant.is_told(shapes)))


def recognise(names: Iterable[str], families: Iterable[Family] = FAMILIES) -> Told | None:
    """As `identify`, by names alone, which tell no variant; None for a model that none of `families` describes."""
    text = one_text(names)
    found = ((family, naming) for family in families for naming in family.namings)
    return next((_as(family, naming) for family, naming in found if not missing_signs(naming, text)), None)


def bundled(names: Iterable[str]) -> list[Family]:
    """The families of the encoders in a CLIP, which puts a name before each; those whose layers are known."""
    text = one_text(names)
    found: dict[str, Family] = {}
    for family in (family for family in FAMILIES if family.kind != DIT and family.name):
        if not all(missing_signs(naming, text, BUNDLED) for naming in family.namings):
            found.setdefault(family.name, family)
    return list(found.values())


def one_text(names: Iterable[str]) -> str:
    """What `missing_signs` looks through, for many signs."""
    return "".join(f"\n{name}" for name in names)


def missing_signs(naming: Naming, text: str, before: str = "") -> list[str]:
    """Those of a naming's signs that begin none of the names of `one_text`. before: a pattern for what may stand before
    the signs. A line end is looked for ten times faster than a pattern."""
    return [sign for sign in naming.signs if not re.search(f"\n{before}(?:{sign})", text, re.MULTILINE)]


def _as(family: Family, naming: Naming | None = None) -> Told:
    naming = naming or family.namings[0]
    return Told(family, naming, naming.variants[-1])
