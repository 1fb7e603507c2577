"""LightX2V's scheme keys -> what Quantization Scheme asks for."""

from ..schemes import AUTO, CLIP, DIT, T5, Scheme, SchemeChoice, UnknownSchemeError, resolve
from .config import Config

COMPONENTS = (DIT, T5, CLIP)


def wanted_scheme(config: Config, component: str) -> tuple[Scheme, str | None]:
    """component: "dit", "t5" or "clip". `auto` where the configuration names none; also where it names one that this
    pack lacks, with a sentence about it: the file decides the format, a scheme only the kernel."""
    name = config.scheme(component)
    try:
        return resolve(name or AUTO, component), None
    except UnknownSchemeError as error:
        return resolve(AUTO), f"{component}_quant_scheme: {error} The best kernel for the file is taken (auto)."


def scheme_choice(config: Config) -> tuple[SchemeChoice, list[str]]:
    """The choice, and a sentence for each scheme that became `auto`."""
    found = [wanted_scheme(config, component) for component in COMPONENTS]
    return SchemeChoice(*(scheme.name for scheme, _ in found)), [note for _, note in found if note]
