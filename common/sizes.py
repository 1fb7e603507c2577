"""Sizes in bytes as text."""

import math

UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
ROUNDED = 0.9995  # of a unit: from here on three digits round to 1.00


def amount(count: int) -> str:
    """A number of bytes with three digits and a unit; GB, MB and kB are powers of 1000 bytes."""
    for factor, unit in UNITS:
        value = count / factor
        if value >= ROUNDED:
            return f"{value:.{max(0, 2 - int(math.log10(value)))}f} {unit}"
    return f"{count} bytes"
