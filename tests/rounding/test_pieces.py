"""A weight that is rounded some rows at a time becomes what it is at once, bit by bit."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, LayerInputs, pieces, round_weight

NAMES = [name for name, row in FORMATS.items() if row.rotation <= 256]
ROWS, COLUMNS = 320, 512
WHOLE, SOME = 1 << 20, pieces.TILE * COLUMNS


def weight():
    values = torch.randn((ROWS, COLUMNS), generator=torch.Generator().manual_seed(0)) * 0.02
    values[3] = 0
    values[:, 5] *= 20
    values[200] *= 3
    return values


def factor(name):
    return torch.linspace(0.5, 1, COLUMNS) if FORMATS[name].smooth else None


def tokens():
    return torch.randn((300, COLUMNS), generator=torch.Generator().manual_seed(1))


def bits(tensors):
    return {name: (tensor.dtype, tensor.shape, tensor.flatten().view(torch.uint8).tolist()) for name, tensor in tensors}


@pytest.fixture
def both(monkeypatch):
    """Whatever is made at once, and of two pieces and a half."""

    def made(make):
        found = []
        for size in (WHOLE, SOME):
            monkeypatch.setitem(pieces.PIECES, "cpu", size)
            found.append(bits(make().items()))
        assert pieces.step(COLUMNS, torch.device("cpu")) == pieces.TILE
        return found

    return made


@pytest.mark.parametrize("method", ["nearest", "mse", "weighted", "gptq"])
@pytest.mark.parametrize("name", [name for name in NAMES if FORMATS[name].grid is not None])
def test_a_method_gives_the_same(name, method, both):
    seen = LayerInputs(tokens=tokens())
    at_once, in_pieces = both(lambda: round_weight(weight(), name, METHODS[method], seen, factor(name)))
    assert in_pieces == at_once


@pytest.mark.parametrize("name", NAMES)
def test_the_layouts_own_way_gives_the_same(name, both):
    options = {"pre_quant_scale": factor(name)} if FORMATS[name].smooth else {}
    at_once, in_pieces = both(lambda: pieces.nearest(weight(), FORMATS[name], **options))
    assert in_pieces == at_once
