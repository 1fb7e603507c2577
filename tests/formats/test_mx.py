"""mxfp4 and mxfp6: how the shared exponent is chosen, and how codes are packed."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.formats.mx import BLOCK, Mxfp4Layout, Mxfp6Layout, from_stream, scale_value, to_stream

from .minifloats import E2M1, E3M2, e2m1, e3m2

# name -> (the codes' values, the largest exponent, the largest maximum that keeps it, in units of the scale)
ELEMENTS = {"mxfp4": (E2M1, 2, 7.0), "mxfp6": (E3M2, 4, 30.0)}


def nearest(values, grid):
    """float32, each the nearest of `grid` (0 or more), by comparing with all of them."""
    distances = (values.abs().unsqueeze(-1) - grid).abs()
    return grid[distances.argmin(-1)] * values.sign()


def with_scale(w, exponent, grid):
    """`w` [blocks, 32] rounded with 2^exponent [blocks, 1]."""
    scale = exponent.exp2()
    return nearest(w / scale, grid) * scale


def gaussian(count=2000):
    return torch.randn(count, BLOCK, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ELEMENTS)
def test_codes_are_the_nearest_there_are(name):
    grid, _, limit = ELEMENTS[name]
    w = gaussian()
    stored = FORMATS[name].quantize(w, torch.float32)
    exponent = (w.abs().amax(1, keepdim=True) / limit).log2().floor() + 1
    assert torch.equal(stored._params.scale.int(), exponent.int() + 127)
    assert torch.equal(stored.dequantize(), with_scale(w, exponent, grid))


@pytest.mark.parametrize("name", ELEMENTS)
def test_a_maximum_gets_the_exponent_of_what_it_is_rounded_to(name):
    limit = ELEMENTS[name][2]
    w = torch.zeros(4, BLOCK)
    below = torch.nextafter(torch.tensor(limit), torch.tensor(0.0))
    w[:, 5] = torch.tensor([below, limit, limit * 2.0**-40, -below * 2.0**60])
    scale = FORMATS[name].quantize(w, torch.float32)._params.scale
    assert scale.flatten().tolist() == [127, 128, 88, 187]


@pytest.mark.parametrize("name", ELEMENTS)
def test_it_leaves_less_than_either_plain_rule(name):
    """OCP's, which cuts the largest off, and LightX2V's, which never does."""
    grid, largest, _ = ELEMENTS[name]
    w = gaussian()
    amax = w.abs().amax(1, keepdim=True)
    plain = with_scale(w, amax.log2().floor() - largest, grid)
    rounded_up = with_scale(w, (amax / grid[-1]).log2().ceil(), grid)
    ours = (FORMATS[name].quantize(w, torch.float32).dequantize() - w).norm()
    assert ours < (plain - w).norm() * 0.99
    assert ours < (rounded_up - w).norm() * (0.99 if name == "mxfp4" else 1.001)


@pytest.mark.parametrize("layout,codes,values", [(Mxfp4Layout, 16, e2m1), (Mxfp6Layout, 64, e3m2)])
def test_every_code_is_packed_and_read(layout, codes, values):
    grid = torch.arange(codes, dtype=torch.uint8).repeat(2, 64 // codes * 2)[:, :64]
    packed = layout.pack(grid)
    assert torch.equal(layout.unpack(packed) >> (8 - (codes - 1).bit_length()), grid)
    params = layout.Params(
        scale=torch.full((2, 2), 127, dtype=torch.uint8), orig_dtype=torch.float32, orig_shape=(2, 64)
    )
    assert torch.equal(layout.dequantize(packed, params), values(packed))


def test_lightx2v_has_four_codes_in_three_bytes():
    codes = torch.randint(0, 64, (3, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    stream = to_stream(Mxfp6Layout.pack(codes))
    expected = []
    for a, b, c, d in codes.reshape(-1, 4).tolist():
        expected += [(b & 3) << 6 | a, (c & 15) << 4 | b >> 2, d << 2 | c >> 4]
    assert stream.flatten().tolist() == expected
    assert torch.equal(from_stream(stream), Mxfp6Layout.pack(codes))


def test_every_scale_is_a_power_of_two():
    scale = torch.arange(255, dtype=torch.uint8)
    assert torch.equal(scale_value(scale).double(), 2.0 ** (scale.double() - 127))


@pytest.mark.parametrize("name", ELEMENTS)
def test_scales_that_are_given_are_kept(name):
    w = gaussian(8)
    given = torch.full((8, 1), 126, dtype=torch.uint8)
    codes, params = FORMATS[name].layout.quantize(w, scale=given)
    assert torch.equal(params.scale, given)
    expected = with_scale(w, torch.full((8, 1), -1.0), ELEMENTS[name][0])
    assert torch.equal(FORMATS[name].layout.dequantize(codes, params), expected)
