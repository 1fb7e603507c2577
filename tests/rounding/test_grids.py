"""The grid of a format is the set of values that its layout stores: rounding to it is what the layout's own quantizer
does, and what is on it is stored exactly."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, round_weight
from x2v_quant.rounding.basis import weight_in_basis

GRIDS = [name for name, row in FORMATS.items() if row.grid is not None and not row.smooth]
SHAPES = [(64, 256), (160, 512)]


def weight_of(shape, seed=0):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.02
    values[3] = 0
    values[:, 5] *= 20
    return values


def dequantized(format_name, tensors, shape):
    return FORMATS[format_name].wrap(tensors, torch.float32, shape).dequantize()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", GRIDS)
def test_nearest_is_what_the_layout_makes(name, shape):
    row, weight = FORMATS[name], weight_of(shape)
    if shape[1] % max(row.rotation, 1):
        pytest.skip(f"{name} rotates {row.rotation} channels together")
    made = round_weight(weight, name, METHODS["nearest"])
    expected = row.encode(weight.clone(), scale="recalculate")
    assert made.keys() == expected.keys()
    assert {key: (tensor.dtype, tensor.shape) for key, tensor in made.items()} == {
        key: (tensor.dtype, tensor.shape) for key, tensor in expected.items()
    }
    true = dequantized(name, expected, shape)
    assert torch.allclose(dequantized(name, made, shape), true, atol=1e-6 + 1e-4 * float(true.abs().max()))


@pytest.mark.parametrize("name", GRIDS)
def test_values_of_the_grid_are_stored_exactly(name):
    row = FORMATS[name]
    shape = (64, max(512, row.rotation))
    grid, values = row.grid, weight_in_basis(weight_of(shape), row, None)
    whole = None if grid.whole is None else grid.whole(values.abs().amax())
    scale = grid.searched(values, whole)
    columns = torch.arange(shape[1])
    on_grid = grid.rounded(values.t(), grid.spread(scale, shape[0], columns)).t().contiguous()
    stored = dequantized(name, grid.encode(on_grid, scale, whole), shape)
    assert torch.allclose(weight_in_basis(stored, row, None), on_grid, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in GRIDS if FORMATS[name].grid.factors])
def test_a_search_never_adds_error(name):
    shape = (64, 512)
    for seed in range(3):
        weight = weight_of(shape, seed)
        before, after = (
            float((dequantized(name, round_weight(weight, name, METHODS[method]), shape) - weight).norm())
            for method in ("nearest", "mse")
        )
        assert after < before


def test_four_bits_reach_the_lowest_code():
    """-8 is a step farther out than 7: a group whose largest value is far from the others takes it."""
    weight = torch.zeros(2, 128)
    weight[:, ::3] = torch.linspace(-0.9, 0.9, 43)
    weight[0, 1], weight[1, 1] = 8.0, -8.0
    made = round_weight(weight, "int4-g128", METHODS["mse"])
    assert made["scale"][0, 0] < 0 < made["scale"][1, 0]
    assert torch.equal(made["codes"][:, 0] >> 4, torch.zeros(2, dtype=torch.uint8))
