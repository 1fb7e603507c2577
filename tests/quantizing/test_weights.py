"""Which modules are linear layers, and what their weights are."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS

pytestmark = pytest.mark.usefixtures("inference")


class Foreign(torch.nn.Linear):
    """Its weight is stored transposed and halved: only its forward knows."""

    def __init__(self, weight, bias):
        torch.nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = torch.nn.Parameter(weight.t() / 2, requires_grad=False)
        self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)

    def forward(self, x):
        y = x @ self.weight * 2
        return y if self.bias is None else y + self.bias


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 9),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from([1e-3, 1.0, 50.0]),
    st.sampled_from([1, 7, 1024]),
)
def test_a_foreign_layer_is_read_through_its_forward(rows, columns, biased, spread, at_a_time):
    from x2v_quant.quantizing import weights

    generator = torch.Generator().manual_seed(rows * columns)
    weight = torch.randn((rows, columns), generator=generator) * spread
    bias = torch.randn(rows, generator=generator) if biased else None
    layer = Foreign(weight, bias)
    assert weights.is_foreign(layer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "UNIT_ROWS", at_a_time)
        got, got_bias = weights.read(layer, torch.device("cpu"))
    # of a weight beside a large bias as many digits are left as float32 has for their sum
    torch.testing.assert_close(got, weight, rtol=1e-6, atol=1e-6 if biased else 0)
    assert (got_bias is None) == (bias is None)
    assert bias is None or torch.equal(got_bias, bias)


def test_what_counts_as_a_linear_layer():
    import comfy.ops

    from x2v_quant.linear.layers import linear_layers

    mixed = comfy.ops.mixed_precision_ops({}, torch.float32)
    root = torch.nn.ModuleDict(
        {
            "torch": torch.nn.Linear(2, 3),
            "core": comfy.ops.manual_cast.Linear(2, 3),
            "mixed": mixed.Linear(2, 3),
            "empty": mixed.Linear(2, 3),
            "embedding": mixed.Embedding(2, 3),
            "experts": mixed.MoEExperts(2, 3, 4),
            "conv": comfy.ops.manual_cast.Conv1d(2, 3, 1),
            "attention": torch.nn.MultiheadAttention(4, 2),
        }
    )
    root["mixed"].weight = torch.nn.Parameter(torch.zeros(3, 2))
    root["empty"].weight = None
    root["experts"].weight = torch.nn.Parameter(torch.zeros(2, 4, 3))
    assert linear_layers(root).keys() == {"torch", "core", "mixed"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_a_plain_weight_is_read_as_it_is(dtype):
    import comfy.ops

    from x2v_quant.quantizing.weights import read

    layer = comfy.ops.manual_cast.Linear(8, 4, dtype=dtype)
    layer.weight = torch.nn.Parameter(torch.linspace(-2, 2, 32).reshape(4, 8).to(dtype), requires_grad=False)
    weight, bias = read(layer, torch.device("cpu"))
    assert weight.dtype is torch.float32
    assert torch.equal(weight, layer.weight.float())
    assert bias is layer.bias


@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-block128", "nvfp4"])
def test_a_layer_of_ours_is_read_dequantized_in_float32(format_name):
    from x2v_quant.kernels.machine import default_device
    from x2v_quant.linear import operations
    from x2v_quant.linear.layers import is_ours
    from x2v_quant.quantizing.layer import Job, quantize_layer
    from x2v_quant.quantizing.planning import plan_for
    from x2v_quant.quantizing.weights import read
    from x2v_quant.schemes import SchemeChoice

    device = default_device()
    plan = plan_for("test", [format_name], "dit", SchemeChoice(dit="reference"), device, torch.float32)
    source = torch.nn.Linear(32, 16)
    made = quantize_layer(Job("a", "a.weight", source, format_name), plan, operations(plan), torch.device("cpu"))
    assert is_ours(made)
    wanted = FORMATS[format_name].quantize(source.weight.to(device), torch.float32).dequantize()
    assert torch.equal(read(made, device)[0], wanted)
    x = torch.randn(3, 32)
    torch.testing.assert_close(made(x), source(x), rtol=0, atol=0.5 if format_name == "nvfp4" else 0.1)


@pytest.mark.parametrize("target", ["nvfp4", "int8-channel"])
def test_cores_smoothing_beside_a_weight_becomes_part_of_it(target):
    """As ModelOpt's nvfp4 files have it: core multiplies the layer's input by pre_quant_scale."""
    import comfy.ops

    from x2v_quant.kernels.machine import default_device
    from x2v_quant.linear import operations
    from x2v_quant.quantizing.layer import Job, quantize_layer
    from x2v_quant.quantizing.planning import plan_for
    from x2v_quant.quantizing.weights import read
    from x2v_quant.schemes import SchemeChoice

    source = comfy.ops.mixed_precision_ops({}, torch.float32).Linear(32, 16, bias=False)
    weight = QuantizedTensor.from_float(torch.randn(16, 32), "TensorCoreNVFP4Layout", scale="recalculate")
    source.weight = torch.nn.Parameter(weight, requires_grad=False)
    source.quant_format, source.layout_type = "nvfp4", weight._layout_cls
    smoothing = torch.linspace(0.5, 4, 32)
    source.pre_quant_scale = torch.nn.Parameter(smoothing, requires_grad=False)
    plan = plan_for("test", [target], "dit", SchemeChoice(dit="reference"), default_device(), torch.float32)
    made = quantize_layer(Job("a", "a.weight", source, target), plan, operations(plan), torch.device("cpu"))
    wanted = FORMATS[target].quantize(weight.dequantize() * smoothing, torch.float32).dequantize()
    assert torch.equal(read(made, torch.device("cpu"))[0], wanted)
    assert plan.layers["a"].file_format == "nvfp4"
    assert plan.layers["a"].added_error > 0
