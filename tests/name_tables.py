"""A family's rename tables, for tests."""

from x2v_quant.families import FAMILIES
from x2v_quant.families.recognise import Told
from x2v_quant.families.rules import Rule, Target, targets


def called(model: str) -> Told:
    """What a file is told to be that `inspect` calls so."""
    found = ((family, naming) for family in FAMILIES for naming in family.namings)
    return next(
        Told(family, naming, variant)
        for family, naming in found
        for variant in naming.variants
        if variant.model == model
    )


def table_of(model: str) -> tuple[Rule, ...]:
    """Its files' names -> ComfyUI's."""
    return called(model).naming.table


def targets_of(model: str, name: str) -> list[Target]:
    return targets(table_of(model), name)
