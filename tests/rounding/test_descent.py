"""Coordinate descent: no row gets more error, it does what its definition says, and comes near the very best codes."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, LayerInputs, descent, round_weight
from x2v_quant.rounding.basis import tokens_in_basis, weight_in_basis
from x2v_quant.rounding.curvature import curvature
from x2v_quant.rounding.descent import DAMPING, descend
from x2v_quant.rounding.gptq import gptq

from .test_gptq import GRIDS, output_error, tokens_of, weight_of


def hessian_of(tokens):
    """What it goes by, in float64."""
    hessian = tokens.double().t() @ tokens.double()
    return hessian + DAMPING * hessian.diagonal().mean() * torch.eye(len(hessian), dtype=torch.float64)


def objective(values, found, hessian):
    """Of each row."""
    errors = (values - found).double()
    return ((errors @ hessian) * errors).sum(dim=1)


def on_grid(name, weight):
    grid = FORMATS[name].grid
    whole = None if grid.whole is None else grid.whole(weight.abs().amax())
    return grid, grid.searched(weight, whole)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(GRIDS),
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 40),
    groups=st.integers(1, 3),
    tokens=st.integers(1, 400),
    begin=st.sampled_from(["gptq", "nearest"]),
)
def test_no_row_gets_more_error(name, seed, rows, groups, tokens, begin):
    width = 128 * groups
    weight, x = weight_of((rows, width), seed), tokens_of(tokens, width, seed)
    grid, scale = on_grid(name, weight)
    known = curvature(x)
    columns = torch.arange(width)
    nearest = grid.rounded(weight.t(), grid.spread(scale, rows, columns)).t().contiguous()
    before = gptq(weight, grid, scale, known) if begin == "gptq" else nearest
    after = descend(weight, before, grid, scale, known)
    hessian = hessian_of(x)
    was, now = objective(weight, before, hessian), objective(weight, after, hessian)
    assert bool((now <= was * 1.0001 + 1e-9 * float(hessian.diagonal().mean())).all())
    again = grid.rounded(after.t().contiguous(), grid.spread(scale, rows, columns)).t()
    assert torch.allclose(again, after, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["int8-channel", "int4-g128", "nvfp4", "w4a8"])
def test_it_is_what_one_column_after_the_other_gives(name):
    """The textbook's loop without blocks: the Hessian times all errors for every single column."""
    weight, x = weight_of((24, 384)), tokens_of(900, 384)
    grid, scale = on_grid(name, weight)
    known = curvature(x)
    before = gptq(weight, grid, scale, known)
    found, hessian = before.double(), hessian_of(x)
    for _ in range(descent.SWEEPS):
        for column in known.order.tolist():
            step = ((weight.double() - found) @ hessian[:, column]) / hessian[column, column]
            spread = grid.spread(scale, len(weight), torch.tensor([column]))[0]
            found[:, column] = grid.rounded((found[:, column] + step).float(), spread).double()
    after = descend(weight, before, grid, scale, known)
    # a value in the middle of two codes may go either way, and takes those after it along
    assert float((after != found.float()).float().mean()) < 0.02
    assert float(objective(weight, after, hessian).sum()) == pytest.approx(
        float(objective(weight, found, hessian).sum()), rel=0.01
    )


def test_few_columns_come_near_the_best_codes_of_all():
    """Every row of 4 columns against each of the 16^4 that int4 could make of it."""
    weight, x = weight_of((12, 4)), tokens_of(60, 8)[:, 1:5].contiguous()
    grid, scale = on_grid("int4-g128", weight)
    known, hessian = curvature(x), hessian_of(x)
    codes = torch.tensor(list(itertools.product(range(-8, 8), repeat=4)), dtype=torch.float32)
    best = torch.stack([objective(row, codes * step, hessian).min() for row, step in zip(weight, scale, strict=True)])
    nearest = grid.rounded(weight.clone(), scale)
    made = descend(weight, gptq(weight, grid, scale, known), grid, scale, known)
    found, plain = objective(weight, made, hessian).sum(), objective(weight, nearest, hessian).sum()
    assert bool((objective(weight, made, hessian) >= best * 0.999).all())
    assert float(found / best.sum()) < 1.3 < float(plain / best.sum())


@pytest.mark.parametrize("name", ["int4-g128", "w4a8", "nvfp4", "awq-w4a16"])
def test_outputs_gain_on_other_inputs(name):
    width = 2 * max(128, FORMATS[name].rotation)
    weight, tokens = weight_of((64, width)), tokens_of(6000, width)
    x = tokens[4000:]
    made = round_weight(weight, name, METHODS["gptq"], LayerInputs(tokens=tokens[:4000]))
    row = FORMATS[name]
    values, seen = weight_in_basis(weight, row, None), tokens_in_basis(tokens[:4000], row, None)
    grid, scale = on_grid(name, values)
    whole = None if grid.whole is None else grid.whole(values.abs().amax())
    alone = grid.encode(gptq(values, grid, scale, curvature(seen)), scale, whole)
    assert output_error(name, made, weight, x) < 0.99 * output_error(name, alone, weight, x)
