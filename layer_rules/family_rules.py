"""What the families of a model say of its layers, whatever its file calls them."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..families import FAMILIES
from ..families.family import Family
from ..families.recognise import Told, bundled, recognise

WITH_LAYERS = tuple(family for family in FAMILIES if family.name)


@dataclass(frozen=True)
class FamilyRules:
    """`families`: the one of a diffusion model or an encoder, which was `told` by its names, or those of all encoders
    that a CLIP bundles; none for a model of which nothing is known. Layers have the names of the file or model."""

    families: tuple[Family, ...]
    told: Told | None = None

    def comfyuis(self, layer: str) -> str:
        return self.told.comfyuis(layer) if self.told else layer

    def quantizes(self, layer: str) -> bool:
        return any(family.quantizes(self.comfyuis(layer)) for family in self.families)

    def why_kept(self, layer: str) -> str | None:
        """The reason that a family has for it; None if none has one."""
        reasons = (family.why_kept(self.comfyuis(layer)) for family in self.families)
        return next(filter(None, reasons), None)


def family_rules(names: Iterable[str]) -> FamilyRules:
    """names: of a model's tensors, without a model prefix."""
    names = tuple(names)
    told = recognise(names, WITH_LAYERS)
    return FamilyRules((told.family,), told) if told else FamilyRules(tuple(bundled(names)))


def lightx2v_also(names: Iterable[str]) -> list[str]:
    """Of the tensors of these names, the layers that the rules keep and a file for LightX2V has quantized."""
    names = tuple(names)
    rules = family_rules(names)
    layers = (name.removesuffix(".weight") for name in names if name.endswith(".weight"))
    return [layer for layer in layers if any(one.lightx2v_takes(rules.comfyuis(layer)) for one in rules.families)]
