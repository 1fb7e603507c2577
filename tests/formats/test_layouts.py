"""The per-channel layouts: what they store, round and give back, and core's own gather/flatten on them."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMAT_OF_LAYOUT, FORMATS
from x2v_quant.formats.channel import MIN_AMAX, scaled

every_format = pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
# half of the largest step, in units of a row's absolute maximum
HALF_STEP = {"int8-channel": 0.5 / 127, "fp8-channel": 2.0**-4}


def same_bits(a, b):
    return torch.equal(a.contiguous().view(torch.uint8), b.contiguous().view(torch.uint8))


def weight(rows=24, columns=70, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((rows, columns), generator=generator) * torch.logspace(-4, 3, rows).view(-1, 1)


@every_format
def test_codes_scales_and_reported_shape(row):
    tensor = QuantizedTensor.from_float(weight().to(torch.bfloat16), row.layout_name)
    assert tensor._qdata.dtype == row.layout.CODES
    assert tensor._params.scale.dtype == torch.float32
    assert tensor._params.scale.shape == (24, 1)
    assert tuple(tensor.shape) == (24, 70)
    assert tensor.dtype == torch.bfloat16
    assert FORMAT_OF_LAYOUT[tensor._layout_cls] is row


@every_format
def test_quantize_stays_within_half_a_step(row):
    w = weight()
    error = (QuantizedTensor.from_float(w, row.layout_name).dequantize() - w).abs()
    assert (error <= HALF_STEP[row.name] * w.abs().amax(1, keepdim=True) * 1.0001).all()


@every_format
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_dequantize_is_codes_times_scale_rounded_once(row, dtype):
    tensor = QuantizedTensor.from_float(weight(), row.layout_name)
    exact = tensor._qdata.to(torch.float32) * tensor._params.scale
    assert torch.equal(tensor.to(dtype).dequantize(), exact.to(dtype))
    assert torch.equal(scaled(tensor._qdata, tensor._params.scale, dtype), exact.to(dtype))


@every_format
def test_zero_row_gives_zero_not_nan(row):
    w = weight()
    w[3] = 0
    tensor = QuantizedTensor.from_float(w, row.layout_name)
    assert torch.equal(tensor.dequantize()[3], torch.zeros(70))
    assert tensor._params.scale[3] == pytest.approx(MIN_AMAX / row.layout.MAX)


@every_format
def test_ties_round_to_even(row):
    scale = torch.ones(1, 1)
    w = torch.tensor([[0.5, 1.5, 2.5, -0.5, -1.5, -2.5]])
    if row.name == "fp8-channel":
        w = torch.tensor([[17.0, 19.0, 21.0, -17.0, -19.0, -21.0]])  # between 16 | 18 | 20 | 22
    expected = {"int8-channel": [0, 2, 2, 0, -2, -2], "fp8-channel": [16, 20, 20, -16, -20, -20]}[row.name]
    codes = QuantizedTensor.from_float(w, row.layout_name, scale=scale)._qdata
    assert codes.to(torch.float32).tolist() == [[float(v) for v in expected]]


@every_format
@pytest.mark.parametrize("scale", [None, "recalculate"])
def test_requantizing_a_dequantized_weight_changes_nothing(row, scale):
    tensor = QuantizedTensor.from_float(weight(), row.layout_name)
    again = tensor.requantize_from_float(tensor.dequantize(), scale=scale)
    assert same_bits(again._qdata, tensor._qdata)
    torch.testing.assert_close(again._params.scale, tensor._params.scale)


@every_format
def test_stochastic_rounding_is_seeded_unbiased_and_leaves_codes_alone(row):
    w = weight()
    first = QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=11)
    assert same_bits(QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=11)._qdata, first._qdata)
    assert not same_bits(QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=12)._qdata, first._qdata)
    on_grid = first.dequantize()
    again = QuantizedTensor.from_float(on_grid, row.layout_name, scale=first._params.scale, stochastic_rounding=5)
    assert same_bits(again._qdata, first._qdata)
    runs = 200
    mean = sum(
        QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=s).dequantize() for s in range(1, runs + 1)
    )
    nearest = (QuantizedTensor.from_float(w, row.layout_name).dequantize() - w).norm()
    assert (mean / runs - w).norm() < 0.2 * nearest


@every_format
def test_quantize_leaves_its_input_alone_unless_told(row):
    w = weight()
    before = w.clone()
    QuantizedTensor.from_float(w, row.layout_name)
    assert torch.equal(w, before)


@every_format
def test_core_gathers_and_flattens_it_without_loss(row):
    from comfy.memory_management import interpret_gathered_like, vram_aligned_size
    from comfy.model_management import cast_to_gathered

    tensor = QuantizedTensor.from_float(weight(33, 65), row.layout_name)
    bias = torch.randn(33)
    buffer = torch.zeros(vram_aligned_size([tensor, bias]), dtype=torch.uint8)
    cast_to_gathered([tensor, bias], buffer)
    back, bias_back = interpret_gathered_like([tensor, bias], buffer)
    assert same_bits(back._qdata, tensor._qdata)
    assert torch.equal(back._params.scale, tensor._params.scale)
    assert torch.equal(bias_back, bias)
    names, context = tensor.__tensor_flatten__()
    rebuilt = QuantizedTensor.__tensor_unflatten__({n: getattr(tensor, n) for n in names}, context, None, None)
    assert torch.equal(rebuilt.dequantize(), tensor.dequantize())


@every_format
def test_moves_clones_and_copies_take_the_scale_along(row):
    tensor = QuantizedTensor.from_float(weight(), row.layout_name)
    other = QuantizedTensor.from_float(weight(seed=1), row.layout_name)
    clone = tensor.clone()
    clone.copy_(other)
    assert torch.equal(clone.dequantize(), other.dequantize())
    assert not torch.equal(tensor.dequantize(), other.dequantize())
    assert set(tensor.state_dict("layer.weight")) == {"layer.weight", "layer.weight_scale"}


@every_format
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_finite_weight_survives(row, data):
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    values = data.draw(
        st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=rows * columns, max_size=rows * columns),
        label="values",
    )
    seed = data.draw(st.one_of(st.none(), st.integers(1, 2**63 - 1)), label="seed")
    w = torch.tensor(values).view(rows, columns)
    back = QuantizedTensor.from_float(w, row.layout_name, stochastic_rounding=seed).dequantize()
    assert back.isfinite().all()
    step = HALF_STEP[row.name] * (2 if seed else 1)
    limit = step * w.abs().amax(1, keepdim=True).clamp(min=MIN_AMAX) * 1.001
    assert ((back - w).abs() <= limit).all()
