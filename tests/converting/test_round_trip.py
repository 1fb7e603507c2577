"""Every encoding that is written gives the weight back bit for bit, and is told from all the others."""

import math

import pytest
import torch
from kinds import infos
from safetensors.torch import save_file
from whole_weight import quantize

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import encodings, open_checkpoint
from x2v_quant.checkpoints.encodings import ENCODINGS, LIGHTX2V, find
from x2v_quant.converting.dialects import MARKER, layer_tensors, writable
from x2v_quant.formats import FORMATS, before_repacking

Q = "blocks.1.self_attn.q"
DIT = {"head.modulation": torch.zeros(1, 2, 8), "blocks.0.self_attn.q.weight": torch.zeros(8, 8)}
WRITTEN = [row for row in ENCODINGS if row.dialects]
IN_DIALECTS = [(dialect, row) for row in WRITTEN for dialect in row.dialects]


def told(row):
    return f"{row.format}-{'-'.join(row.dialects)}"


def size(row, least):
    """The smallest (N, K) from `least` on that the row and its format can hold."""
    rotated = (1, FORMATS[row.format].settings.get("convrot_groupsize", 1))
    steps = map(math.lcm, row.multiples, FORMATS[row.format].multiples, rotated)
    return tuple(math.ceil(count / step) * step for count, step in zip(least, steps, strict=True))


def stored(row, shape, input_scale=None):
    """A random weight in the row's format, as the converter makes it."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(shape[0]))
    factor = torch.rand(shape[1]) + 0.5 if FORMATS[row.format].smooth else None
    plain = before_repacking(row.format)
    made = quantize(lambda a, b: weight[a:b].clone(), shape, plain, "here", factor=factor).repacked(row.format)
    if input_scale is not None and "input_scale" in made.tensors:
        made.tensors["input_scale"] = torch.tensor([input_scale])
    return made


def same(found, expected):
    """Whether two weights have the same tensors, bit for bit."""
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape), name
        bits = [one.contiguous().flatten().view(torch.uint8) for one in (found[name], tensor)]
        assert torch.equal(*bits), name


@pytest.mark.parametrize("least", [(1, 1), (40, 50), (200, 130), (256, 1024)])
@pytest.mark.parametrize("row", WRITTEN, ids=told)
@pytest.mark.parametrize("input_scale", [None, 0.25])
def test_unpacking_undoes_packing(row, least, input_scale):
    shape = size(row, least)
    weight = stored(row, shape, input_scale)
    packed = row.pack(weight.tensors, shape)
    assert packed.keys() - row.tensors.keys() <= row.ignored.keys()
    for role in packed.keys() & row.tensors.keys():
        assert str(packed[role].dtype).removeprefix("torch.") in row.tensors[role].dtypes, role
    assert row.shape({role: tuple(tensor.shape) for role, tensor in packed.items()} | {"marker": shape}) == shape
    same(row.unpack({role: packed[role] for role in packed.keys() & row.tensors.keys()}, shape), weight.tensors)


@pytest.mark.parametrize("dialect,row", IN_DIALECTS, ids=lambda value: value if isinstance(value, str) else told(value))
def test_a_file_is_read_as_what_was_written(dialect, row, tmp_path):
    # a single block of 128 rows is one scale, which a layer with one for all has as well; with fewer channels the
    # scales of mxfp4, mxfp6 and mxfp8 are padded alike
    shape = size(row, (130, 400))
    weight = stored(row, shape, input_scale=0.25)
    layer = layer_tensors(weight.repacked(before_repacking(row.format)), dialect)
    assert (MARKER in layer) == (dialect != LIGHTX2V)
    save_file({**DIT, **{f"{Q}.{end}": tensor for end, tensor in layer.items()}}, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    checkpoint.require("dit")
    found = checkpoint.load().quantized[Q]
    assert (found.format, found.shape) == (row.format, shape)
    same(found.tensors, weight.tensors)


def test_formats_that_are_repacked_for_a_kernel_have_no_name_in_a_dialect():
    for dialect in encodings.DIALECTS:
        assert all(name == before_repacking(name) for name in writable(dialect))


def found(layer, mark):
    """What a layer is read as, None if anything is missing."""
    hit = find(layer, mark, (130, 400))
    return None if hit is None or hit.missing else (hit.encoding.format, hit.encoding.unpack, hit.ends, hit.shape)


def test_the_order_of_the_table_tells_nothing(monkeypatch):
    layers = [KINDS[kind](torch.randn(256, 512)) for kind in KINDS]
    layers += [row.named(stored(row, size(row, (130, 400)), 0.25).tensors, size(row, (130, 400))) for row in WRITTEN]
    layers = [infos(layer) for layer in layers]
    marks = [None, *encodings.MARKS]
    before = [found(layer, mark) for layer in layers for mark in marks]
    monkeypatch.setattr(encodings, "ENCODINGS", ENCODINGS[::-1])
    assert [found(layer, mark) for layer in layers for mark in marks] == before
    assert sum(hit is not None for hit in before) >= len(layers)
