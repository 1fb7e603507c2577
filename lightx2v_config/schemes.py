"""LightX2V's scheme keys as a SchemeChoice."""

from ..schemes import AUTO, CLIP, DIT, T5, Scheme, SchemeChoice, UnknownSchemeError, resolve
from .config import Config

COMPONENTS = (DIT, T5, CLIP)


def wanted_scheme(config: Config, component: str) -> tuple[Scheme, str | None]:
    """(scheme of "dit", "t5" or "clip", note or None). `auto` if the configuration names none, or one that this pack
    does not have, which the note says: the file decides the format, the scheme only the kernel."""
    name = config.scheme(component)
    try:
        return resolve(name or AUTO, component), None
    except UnknownSchemeError as error:
        return resolve(AUTO), f"{component}_quant_scheme: {error} The best kernel for the file is taken (auto)."


def scheme_choice(config: Config) -> tuple[SchemeChoice, list[str]]:
    """(the choice for all components, a sentence for each scheme that was replaced by `auto`)."""
    found = [wanted_scheme(config, component) for component in COMPONENTS]
    return SchemeChoice(*(scheme.name for scheme, _ in found)), [note for _, note in found if note]
