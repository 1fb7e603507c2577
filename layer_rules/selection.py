"""What becomes of every layer: its format, or why it is kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..formats import fitting
from . import default, shapes
from .errors import RuleError
from .family_rules import FamilyRules, family_rules
from .format_names import format_named
from .overrides import KEEP, Override, near


@dataclass(frozen=True)
class Selection:
    """`family`: the model's family in words. `formats`: layer -> format, `kept`: layer -> reason in words, both in the
    order of the layers; every layer is in one of the two."""

    family: str
    formats: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)


def select(
    layers: Mapping[str, tuple[int, int]],
    names: Iterable[str],
    format_name: str,
    overrides: Sequence[Override] = (),
) -> Selection:
    """Sort `layers` (every layer with a two-dimensional float weight, by its name without ".weight" and without a model
    prefix -> (N, K)) into those that are quantized and those that are kept.

    names: of every tensor of the model, without a prefix; they tell the family. format_name: what the layers get that
    no override has a format for; a scheme's name does too. Of several overrides for a layer the last one counts; it may
    take what the family keeps. A pattern with wildcards passes over embeddings.

    Raises RuleError for a format that is not known, an override that matches no layer or asks for an embedding, and one
    whose format cannot hold a layer.
    """
    wanted = format_named(format_name)
    rules = family_rules(names)
    for override in overrides:
        _require_layers(override, layers, rules)
    selection = Selection(" + ".join(family.name for family in rules.families) or default.UNKNOWN)
    for name, shape in layers.items():
        override = next((override for override in reversed(overrides) if override.matches(name)), None)
        reason = default.table(rules.comfyuis(name))
        if reason is None and override is not None:
            reason = _asked(override, name, shape)
        elif reason is None:
            reason = _why_kept(rules, name, shape) or shapes.why_not(wanted, shape)
        if reason is None:
            selection.formats[name] = fitting(wanted if override is None else override.format, shape)
        else:
            selection.kept[name] = reason
    return selection


def _require_layers(override: Override, layers: Mapping[str, tuple[int, int]], rules: FamilyRules) -> None:
    """Raise RuleError unless the override matches a layer that can be what it says."""
    matched = [name for name in layers if override.matches(name)]
    if not matched:
        guesses = near(override.pattern, layers) or list(layers)[:1]
        hint = f" Did you mean {' or '.join(guesses)}?" if guesses else " The model has no layer at all."
        raise RuleError(f"Layer rule '{override}' matches no layer of this model.{hint}")
    tables = [default.table(rules.comfyuis(name)) for name in matched]
    if override.format != KEEP and all(tables):
        reason = tables[0]
        raise RuleError(f"Layer rule '{override}': {matched[0]} {reason}, and stays as it is. Remove the line.")


def _asked(override: Override, name: str, shape: tuple[int, int]) -> str | None:
    """Why an override keeps a layer, None if it gives it a format. Raises RuleError if that cannot hold it."""
    if override.format == KEEP:
        return f"is kept by the rule '{override}'"
    problem = shapes.why_not(override.format, shape)
    if problem is not None:
        raise RuleError(f"Layer rule '{override}': {name} {problem}. Give it another format or keep.")
    return None


def _why_kept(rules: FamilyRules, name: str, shape: tuple[int, int]) -> str | None:
    """Why the rules of the families, or the default without any, keep a layer; None if they quantize it."""
    if not rules.families:
        return default.why_kept(name, shape)
    if rules.quantizes(name):
        return None
    others = f"the rules for {' and '.join(family.name for family in rules.families)} quantize"
    return rules.why_kept(name) or default.by_name(name) or f"is none of the layers that {others}"
