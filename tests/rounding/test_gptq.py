"""GPTQ against its definition, against rounding to the nearest, and in memory."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.rounding import METHODS, LayerInputs, round_weight
from x2v_quant.rounding.curvature import DAMPING, Curvatures, curvature
from x2v_quant.rounding.gptq import gptq
from x2v_quant.rounding.triangular import invert_lower_

GRIDS = [name for name, row in FORMATS.items() if row.grid is not None and not row.smooth and row.rotation <= 256]


def tokens_of(count, width, seed=0):
    """Channels that depend on each other, a few of them large: as layers of transformers see them."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn((count, width // 4), generator=generator) @ torch.randn(
        (width // 4, width), generator=generator
    )
    values = mixed / (width // 4) ** 0.5 + 0.3 * torch.randn((count, width), generator=generator)
    values[:, :: width // 8] *= 10
    return values


def weight_of(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def output_error(name, tensors, weight, x):
    values = FORMATS[name].wrap(tensors, torch.float32, tuple(weight.shape)).dequantize()
    return float((x @ (values - weight).t()).norm())


def textbook(values, grid, scale, tokens):
    """One column after the other, by the inverse of what is left of the Hessian (Optimal Brain Quantization)."""
    values, hessian = values.double(), (tokens.double().t() @ tokens.double())
    hessian += DAMPING * hessian.diagonal().mean() * torch.eye(len(hessian))
    left = hessian.diagonal().argsort(descending=True, stable=True).tolist()
    while left:
        inverse = torch.linalg.inv(hessian[left][:, left])
        column = left[0]
        spread = grid.spread(scale, len(values), torch.tensor([column]))
        rounded = grid.rounded(values[:, column].float(), spread[0]).double()
        error = (values[:, column] - rounded) / inverse[0, 0]
        values[:, left] -= error[:, None] * inverse[0]
        values[:, column] = rounded
        left = left[1:]
    return values.float()


@pytest.mark.parametrize("name", ["int8-channel", "fp8-channel", "int4-g128", "fp8-block128", "nvfp4"])
def test_it_is_the_definition(name):
    grid, weight, tokens = FORMATS[name].grid, weight_of((32, 192)), tokens_of(400, 192)
    whole = None if grid.whole is None else grid.whole(weight.abs().amax())
    scale = grid.absmax(weight, whole)
    found, expected = gptq(weight, grid, scale, curvature(tokens)), textbook(weight, grid, scale, tokens)
    # a value in the middle of two codes may go either way, and takes those after it along
    assert float((found != expected).float().mean()) < 0.02
    errors = [float((tokens @ (values - weight).t()).norm()) for values in (found, expected)]
    assert errors[0] == pytest.approx(errors[1], rel=0.02)


@pytest.mark.parametrize("name", GRIDS)
def test_outputs_gain(name):
    """On inputs that it has not seen, though the weights themselves get worse."""
    width = 2 * max(128, FORMATS[name].rotation)
    weight, tokens = weight_of((64, width)), tokens_of(3000, width)
    seen, others = tokens[:2000], tokens[2000:]
    nearest = round_weight(weight, name, METHODS["nearest"])
    made = round_weight(weight, name, METHODS["gptq"], LayerInputs(tokens=seen))
    assert output_error(name, made, weight, others) < 0.75 * output_error(name, nearest, weight, others)


def test_rows_do_not_depend_on_each_other():
    weight, inputs = weight_of((96, 256)), LayerInputs(tokens=tokens_of(500, 256))
    whole = round_weight(weight, "int4-g128", METHODS["gptq"], inputs)
    parts = [round_weight(part, "int4-g128", METHODS["gptq"], inputs) for part in weight.split(40)]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([part[name] for part in parts]))


def test_layers_that_share_an_input_share_its_curvature():
    shared, computed = Curvatures(), []
    tokens = tokens_of(300, 128)

    def counted():
        computed.append(1)
        return tokens

    first = shared.of(("q", 0), counted)
    assert shared.of(("q", 0), counted) is first
    shared.of(("o", 0), counted)
    shared.of(None, counted)
    assert len(computed) == 3


@pytest.mark.parametrize("tokens", [torch.zeros(4, 128), torch.ones(5, 128), torch.zeros(4, 128).fill_(1e-20)], ids=str)
def test_inputs_that_tell_nothing(tokens):
    """No NaN, and no worse than the nearest by much."""
    weight = weight_of((16, 128))
    made = round_weight(weight, "int8-channel", METHODS["gptq"], LayerInputs(tokens=tokens))
    nearest = round_weight(weight, "int8-channel", METHODS["nearest"])
    x = tokens_of(50, 128)
    assert output_error("int8-channel", made, weight, x) < 3 * output_error("int8-channel", nearest, weight, x)


@pytest.mark.parametrize("size", [1, 7, 256, 257, 900])
def test_inverse_in_place(size):
    matrix = torch.tril(torch.randn(size, size, generator=torch.Generator().manual_seed(size)) * 0.05)
    matrix.diagonal().abs_().add_(1.0)
    found = invert_lower_(matrix.clone())
    assert torch.allclose(found @ matrix, torch.eye(size), atol=1e-3)
    assert torch.equal(found, torch.tril(found))
