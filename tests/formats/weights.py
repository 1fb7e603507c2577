"""A float weight that a format can hold, and when two tensors are the same to the bit."""

import pytest
import torch

from x2v_quant.formats import FORMATS, SMOOTHED

every_format = pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)

# smallest weights that the formats with a minimum size can have; the others take odd ones
SHAPES = {"int4-g128-marlin": (64, 256)}
SHAPES.update((name, (24, 2 * max(row.rotation, 64))) for name, row in FORMATS.items() if row.rotation)
SHAPES.update((SMOOTHED[name], shape) for name, shape in list(SHAPES.items()) if name in SMOOTHED)
SHAPES.update((name, (150, 384)) for name, row in FORMATS.items() if row.family == "awq-w4a16")
SHAPES.update((name, (24, 512)) for name, row in FORMATS.items() if row.family == "convrot-w4a4")
SHAPES.update(dict.fromkeys(("mxfp4", "mxfp6"), (150, 320)))
ODD = (150, 330)


def same_bits(a, b):
    return torch.equal(*(t.contiguous().view(-1).view(torch.uint8) for t in (a, b)))


def weight(row, seed=0, decades=7):
    rows, columns = SHAPES.get(row.name, ODD)
    generator = torch.Generator().manual_seed(seed)
    scales = torch.logspace(3 - decades, 3, rows).view(-1, 1)
    return torch.randn((rows, columns), generator=generator) * scales
