"""What a user picks: the table of schemes. What becomes of one on this machine is in `plan`, which needs kernels."""

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
    "names",
    "resolve",
    "schemes_for",
]
