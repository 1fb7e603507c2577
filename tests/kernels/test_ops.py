"""The pack's torch ops: how many there are, what their fakes refuse, and the names that kernels are known by."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS
from x2v_quant.kernels.ops import COMPUTATIONS, add

REFERENCE = "reference int8-channel"
ops = torch.ops.x2v_quant


def tensors(x_shape=(5, 64), columns=32, bias=32, x_dtype=torch.float32):
    return {
        "x": torch.empty(x_shape, dtype=x_dtype),
        "weight": [torch.empty((columns, 64), dtype=torch.int8), torch.empty((columns, 1))],
        "shape": (columns, 64),
        "bias": torch.empty(bias),
        "kernel": REFERENCE,
    }


def test_every_kernel_is_computed_by_the_same_three_ops():
    names = {s.name.split("::")[1] for s in torch._C._jit_get_all_schemas() if s.name.startswith("x2v_quant::")}
    assert names == {"linear", "quantize", "multiply"}
    assert len(COMPUTATIONS) >= len(KERNELS)
    assert {name.split(" ")[0] for name in COMPUTATIONS} >= {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize(
    "change,words",
    [
        ({"x_shape": (5, 2, 64)}, "x is [M, K], not [5, 2, 64]"),
        ({"x_shape": (5, 48)}, "x has 48 channels, the weight is [32, 64]"),
        ({"x_dtype": torch.int32}, "x is float, not torch.int32"),
        ({"bias": 31}, "bias is [32]"),
    ],
    ids=["dimensions", "channels", "dtype", "bias"],
)
def test_a_graph_refuses_what_does_not_fit(change, words):
    with FakeTensorMode(), pytest.raises(RuntimeError) as refusal:
        ops.linear(**tensors(**change))
    assert words in str(refusal.value)


def test_a_graph_refuses_a_weight_of_another_format():
    with FakeTensorMode(), pytest.raises(RuntimeError, match="3 tensors were given"):
        given = tensors()
        given["weight"] += [torch.empty(64)]
        ops.linear(**given)
    with FakeTensorMode(), pytest.raises(RuntimeError, match="0 tensors were given"):
        ops.quantize(torch.empty(5, 64), [], "reference fp8-tensor")
    with FakeTensorMode(), pytest.raises(RuntimeError, match="4 tokens are quantized, not 5"):
        given = tensors()
        del given["x"]
        ops.multiply([torch.empty(4, 64)], 5, torch.float32, **given)


def test_a_name_that_is_taken_gets_a_number(monkeypatch):
    monkeypatch.setattr("x2v_quant.kernels.ops.COMPUTATIONS", {})
    assert [add("odd int8-channel", None) for _ in range(3)] == [
        "odd int8-channel",
        "odd int8-channel #2",
        "odd int8-channel #3",
    ]
    assert add("odd int8", None) == "odd int8"


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_has_a_reference(format_name):
    """The implementation of the three schemas in plain torch."""
    reference = COMPUTATIONS[f"reference {format_name}"]
    assert reference.quantizer or FORMATS[format_name].activation == "float"
