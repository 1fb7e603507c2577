"""The layouts: what they store, round and give back."""

from typing import NamedTuple

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS, SMOOTHED, format_of
from x2v_quant.formats.awq_w4a16 import GROUPS, name_of
from x2v_quant.formats.int4_group128 import Int4Group128Layout
from x2v_quant.formats.int4_marlin import unpack, unpack_scale
from x2v_quant.formats.layout import SMALLEST_SCALE, ScaledLayout
from x2v_quant.formats.mx import SMALLEST
from x2v_quant.formats.requantize import requantized
from x2v_quant.formats.scaled import scaled

from .minifloats import e2m1, e3m2
from .weights import SHAPES, every_format, same_bits, weight

# tests/formats/test_smooth.py has what smooths another layout
# test_int4_convrot.py has the one whose steps are in another basis
OURS = [row for row in FORMATS.values() if issubclass(row.layout, ScaledLayout) and not (row.smooth or row.settings)]
our_formats = pytest.mark.parametrize("row", OURS, ids=lambda row: row.name)

# the dtype that codes are stored in, or a format of another width -> the shape of those of a weight [N, K]
CODES = {
    "mxfp6": lambda n, k: (n, k // 4 * 3),
    torch.float8_e4m3fn: lambda n, k: (n, k),
    torch.int8: lambda n, k: (n, k),
    torch.uint8: lambda n, k: (n, k // 2),
    torch.int32: lambda n, k: (k // 16, 2 * n),
}
E4M3 = 16 / 448
AWQ = {group: name_of(group) for group in GROUPS}


class Unit(NamedTuple):
    """The weights that share a scale: `rows` x `columns`, None is all of them. `half_step`: half of the largest step,
    in units of the absolute maximum of a unit. `codes` and `scale`: the dtypes that ours are stored in."""

    rows: int | None
    columns: int | None
    half_step: float = E4M3
    codes: torch.dtype = torch.float8_e4m3fn
    scale: torch.dtype = torch.float32


UNITS = {
    "fp8-channel": Unit(1, None),
    "int8-channel": Unit(1, None, 0.5 / 127, torch.int8),
    "fp8-reduced": Unit(1, None),
    "fp8-block128": Unit(128, 128),
    "fp8-tensor": Unit(None, None),
    "int4-g128": Unit(1, 128, 0.5 / 7, torch.uint8),
    "int4-g128-marlin": Unit(1, 128, 0.5 / 7, torch.int32),
    "mxfp8": Unit(1, 32, 2 * E4M3),
    # and what is rounded of a scale and of zeros in bfloat16
    **{name: Unit(1, group, 1 / 15 + 2**-8, torch.int8) for group, name in AWQ.items()},
    # from 4 to 6 and from 16 to 20, where the maximum is little more than the first
    "mxfp4": Unit(1, 32, 1 / 4, torch.uint8, torch.uint8),
    "mxfp6": Unit(1, 32, 1 / 8, torch.uint8, torch.uint8),
    # the scale may also be 1/16 too small
    "nvfp4": Unit(1, 16, 1 / 6 + 1 / 16),
}
# what is between two codes when the scale is 1 -> what it becomes
TIES = {
    "int": ((0.5, 1.5, 2.5), (0, 2, 2)),
    "fp8": ((17, 19, 21), (16, 20, 20)),
    "mxfp4": ((0.25, 2.5, 5), (0, 2, 4)),
    "mxfp6": ((0.03125, 18, 22), (0, 16, 24)),
}
# a format of packed floats -> its codes' values [N, K]
MINIFLOATS = {"mxfp4": e2m1, "mxfp6": e3m2}
# test_int8_convrot.py and test_w4a8.py have those whose steps are in another basis
STEPS = {name for name, row in FORMATS.items() if not row.rotation}
UNITS.update((SMOOTHED[name], UNITS[name]) for name in STEPS & SMOOTHED.keys())


def unit(name):
    assert name in UNITS, f"UNITS in tests/formats/test_layouts.py wants a row for {name}"
    return UNITS[name]


def sharing(name, shape):
    """The rows and columns of a weight of `shape` that share a scale."""
    return (unit(name).rows or shape[0], unit(name).columns or shape[1])


def maxima(row, w):
    """The absolute maximum of its unit for every weight, block by block."""
    result = torch.empty_like(w)
    rows, columns = sharing(row.name, w.shape)
    for i in range(0, w.shape[0], rows):
        for j in range(0, w.shape[1], columns):
            block = (slice(i, i + rows), slice(j, j + columns))
            result[block] = w[block].abs().max()
    return result


def codes_and_scales(row, tensor):
    """What a weight of ours holds, as two float32 [N, K]: every element's code and its scale."""
    rows, columns = tensor.shape
    codes, scale = tensor._qdata, tensor._params.scale
    if row.name in MINIFLOATS:
        codes, scale = MINIFLOATS[row.name](codes), 2.0 ** (scale.float() - 127)
    if row.name == "int4-g128-marlin":
        # tests/formats/test_int4_marlin.py proves these two
        codes, scale = unpack(codes), unpack_scale(scale)
    if codes.dtype == torch.uint8:
        codes = torch.stack((codes % 16, codes // 16), dim=2).flatten(1).float() - 8
    height, width = sharing(row.name, tensor.shape)
    return codes.float(), scale.repeat_interleave(height, 0)[:rows].repeat_interleave(width, 1)[:, :columns]


@every_format
def test_codes_scales_and_reported_shape(row):
    w = weight(row).to(torch.bfloat16)
    tensor = row.quantize(w, torch.bfloat16)
    assert tuple(tensor.shape) == tuple(w.shape)
    assert tensor._params.orig_shape == tuple(w.shape)
    assert tensor.dtype == torch.bfloat16
    assert format_of(tensor) is row
    assert tensor._params._tensor_fields() == list(row.tensors[1:])
    parts = row.parts(tensor._qdata, tensor._params)
    assert all(part.is_contiguous() for part in parts)
    again = row.wrap(dict(zip(row.tensors, parts, strict=True)), torch.bfloat16, tuple(w.shape))
    assert torch.equal(again.dequantize(), tensor.dequantize())


@our_formats
def test_what_is_stored_has_the_stated_shape_and_dtype(row):
    tensor = row.quantize(weight(row), torch.float32)
    (n, k), (height, width), codes = tensor.shape, sharing(row.name, tensor.shape), unit(row.name).codes
    size = CODES.get(row.name, CODES[codes])
    assert (tensor._qdata.dtype, tuple(tensor._qdata.shape)) == (codes, size(n, k))
    scales = (-(-n // height), -(-k // width))
    assert tuple(tensor._params.scale.shape) == (scales[::-1] if row.name == "int4-g128-marlin" else scales)
    assert tensor._params.scale.dtype == unit(row.name).scale
    assert codes_and_scales(row, tensor)[0].abs().max() == row.layout.MAX


@pytest.mark.parametrize("row", [FORMATS[name] for name in FORMATS if name in STEPS], ids=lambda row: row.name)
def test_quantize_stays_within_half_a_step(row):
    # a block of nvfp4 far below the tensor's maximum has no scale of its own
    w = weight(row, decades=1 if row.name == "nvfp4" else 7)
    error = (row.quantize(w, torch.float32).dequantize() - w).abs()
    limit = unit(row.name).half_step * maxima(row, w) * 1.0001
    assert (error <= limit).all()
    assert (error > limit / 4).any()


@our_formats
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_dequantize_is_codes_times_scale_rounded_once(row, dtype):
    tensor = row.quantize(weight(row), torch.float32)
    codes, scales = codes_and_scales(row, tensor)
    assert torch.equal(tensor.to(dtype).dequantize(), (codes * scales).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_e4m3_code_is_read_exactly(dtype):
    codes = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn)
    codes = codes[codes.float().isfinite()]
    for scale in (1.0, 2.0**-8, 3.7e-5, 2.0**60):
        expected = (codes.double() * torch.tensor(scale).double()).float().to(dtype)
        assert same_bits(scaled(codes, torch.tensor([scale]), dtype), expected)


@our_formats
def test_zeros_give_zero_not_nan(row):
    tensor = row.quantize(torch.zeros_like(weight(row)), torch.float32)
    assert torch.equal(tensor.dequantize(), torch.zeros_like(weight(row)))
    expected = SMALLEST_SCALE if unit(row.name).scale is torch.float32 else SMALLEST
    assert tensor._params.scale.flatten().tolist() == pytest.approx([expected] * tensor._params.scale.numel())
    w = weight(row)
    w[3] = 0
    assert not row.quantize(w, torch.float32).dequantize()[3].any()


@our_formats
def test_ties_round_to_even(row):
    values, expected = next(found for kind, found in TIES.items() if kind in row.name)
    w = torch.zeros_like(weight(row))
    w[0, :3], w[0, 3:6] = torch.tensor(values), -torch.tensor(values)
    # as a scale is stored
    one = torch.ones(1, 1) if unit(row.name).scale is torch.float32 else torch.full((1, 1), 127, dtype=torch.uint8)
    back = QuantizedTensor.from_float(w, row.layout_name, scale=one).dequantize()
    assert back[0, :6].tolist() == [*expected, *(-v for v in expected)]


@our_formats
@pytest.mark.parametrize("scale", [None, "recalculate"])
def test_requantizing_a_dequantized_weight_changes_nothing(row, scale):
    tensor = row.quantize(weight(row), torch.float32)
    again = requantized(tensor, tensor.dequantize(), scale=scale)
    assert same_bits(again._qdata, tensor._qdata)
    torch.testing.assert_close(again._params.scale, tensor._params.scale)


@our_formats
def test_stochastic_rounding_is_seeded_unbiased_and_leaves_codes_alone(row):
    w = weight(row)[:64]
    first = QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=11)
    assert same_bits(QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=11)._qdata, first._qdata)
    assert not same_bits(QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=12)._qdata, first._qdata)
    on_grid = first.dequantize()
    again = QuantizedTensor.from_float(on_grid, row.layout_name, scale=first._params.scale, stochastic_rounding=5)
    assert same_bits(again._qdata, first._qdata)
    runs = 100
    mean = sum(
        QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=s).dequantize() for s in range(1, runs + 1)
    )
    nearest = (row.quantize(w, torch.float32).dequantize() - w).norm()
    assert (mean / runs - w).norm() < 0.25 * nearest


@every_format
def test_quantize_leaves_its_input_alone_unless_told(row):
    w = weight(row)
    before = w.clone()
    row.quantize(w, torch.float32)
    assert torch.equal(w, before)


@our_formats
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_16_bit_weight_is_quantized_as_the_same_numbers_in_float32(row, dtype):
    w = weight(row, decades=4).to(dtype)
    assert same_bits(row.layout.quantize(w)[0], row.layout.quantize(w.float())[0])
    assert row.layout.quantize(w)[1].orig_dtype == dtype


@pytest.mark.parametrize(
    "name,shape,words",
    [
        ("int4-g128", (4, 7), "in_features has to be even, this layer has 7"),
        ("int4-g128-marlin", (96, 128), "this layer has 96 and 128"),
        ("int4-g128-marlin", (64, 64), "in_features of 128"),
        ("mxfp4", (64, 48), "for 32 in_features: they have to be a multiple of it, not 48"),
    ],
)
def test_a_shape_that_a_format_cannot_hold_is_refused_in_words(name, shape, words):
    with pytest.raises(ValueError, match=words):
        FORMATS[name].quantize(torch.zeros(shape), torch.float32)


def test_the_refusal_names_the_format_of_the_layout():
    class Wider(Int4Group128Layout):
        GROUP = 256

    with pytest.raises(ValueError, match=r"^int4-g256 stores two codes in a byte"):
        Wider.quantize(torch.zeros(4, 7))


@our_formats
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_finite_weight_survives(row, data):
    rows, columns = SHAPES.get(row.name, (data.draw(st.integers(1, 5)), 2 * data.draw(st.integers(1, 70))))
    values = data.draw(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=1, max_size=40), label="values")
    seed = data.draw(st.one_of(st.none(), st.integers(1, 2**63 - 1)), label="seed")
    w = torch.tensor(values).repeat(rows * columns)[: rows * columns].view(rows, columns)
    back = QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=seed).dequantize()
    assert back.isfinite().all()
    step = unit(row.name).half_step * (2 if seed else 1)
    assert ((back - w).abs() <= step * maxima(row, w).clamp(min=SMALLEST_SCALE * row.layout.MAX) * 1.001).all()
