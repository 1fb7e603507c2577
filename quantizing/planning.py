"""The format that "auto" means on this machine, and the plan of a model that is quantized in memory."""

import torch

from ..formats import FORMATS, family
from ..kernels.machine import describe
from ..kernels.native import native_format
from ..schemes import AUTO, SchemeChoice, resolve, schemes_for
from ..schemes.plan import Plan, SchemeMismatchError


def format_for(name: str, component: str, choice: SchemeChoice, device: torch.device) -> str:
    """`name`; for "auto" the format of the chosen scheme, else `native_format`. component: "dit" or "t5"."""
    if name != AUTO:
        return name
    wanted = resolve(getattr(choice, component), component).format
    return wanted if wanted in FORMATS else native_format(describe(torch.device(device)))


def plan_for(title: str, formats, component: str, choice: SchemeChoice, device, dtype: torch.dtype) -> Plan:
    """An empty plan for a model with layers in `formats`. Raises UnknownSchemeError, or SchemeMismatchError if the
    scheme is for another format."""
    scheme = resolve(getattr(choice, component), component)
    others = sorted({name for name in formats if scheme.format is not None and family(name) != family(scheme.format)})
    if others:
        fitting = ", ".join(schemes_for({family(name) for name in formats}, component))
        raise SchemeMismatchError(
            f"Layers of {title} would become {' and '.join(others)}, but scheme {scheme.name} is for {scheme.format}. "
            f"Pick one of: {fitting}; or quantize every layer to {scheme.format}."
        )
    return Plan(title, scheme, describe(torch.device(device)), dtype, choice.strict, choice.transcode, component)
