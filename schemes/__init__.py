"""Schemes, which a user picks, and (in `plan`, which needs kernels) plans: schemes resolved on this machine."""

from .table import (
    AUTO,
    CLIP,
    DIT,
    EVERYWHERE,
    SCHEMES,
    T5,
    Scheme,
    SchemeChoice,
    UnknownSchemeError,
    elsewhere,
    names,
    resolve,
    schemes_for,
)

__all__ = [
    "AUTO",
    "CLIP",
    "DIT",
    "EVERYWHERE",
    "SCHEMES",
    "T5",
    "Scheme",
    "SchemeChoice",
    "UnknownSchemeError",
    "elsewhere",
    "names",
    "resolve",
    "schemes_for",
]
