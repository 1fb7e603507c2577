"""What is kept from one layer to the next, without a model: any order of calls and writes gives the plain results."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS
from x2v_quant.kernels.shared_input import SharedInputs

WIDTH = 64
STEPS = st.one_of(
    st.tuples(st.just("call"), st.integers(0, 3), st.integers(0, 2)),
    st.tuples(st.just("write"), st.integers(0, 2), st.sampled_from(["add", "set", "resize"])),
    st.tuples(st.sampled_from(["enter", "leave"]), st.just(0), st.just(0)),
)


class Layer(torch.nn.Module):
    """As much of a quantized linear as sharing sees."""

    def __init__(self, seed, kernel):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn((32, WIDTH), generator=generator)
        self.weight = FORMATS[kernel.format].quantize(weight, torch.float32)
        self.bias, self.kernel = torch.randn(32, generator=generator), kernel

    def plain(self, x):
        return self.kernel.linear(rows(x), self.weight._qdata, self.weight._params, self.bias)

    def shared(self, inputs, x):
        return inputs.linear(self, self.kernel, x, rows, self.weight, self.bias)


def rows(x):
    return x.reshape(-1, WIDTH)


def kernel(format_name):
    return next(k for k in KERNELS if k.name == "reference" and format_name == k.format)


@pytest.fixture(scope="module")
def layers():
    """Three in a group, and one whose kernel quantizes another way."""
    return [*(Layer(seed, kernel("int8-channel")) for seed in range(3)), Layer(3, kernel("fp8-channel"))]


def write(inputs, index, kind):
    if kind == "add":
        inputs[index].add_(1)
    elif kind == "set":
        inputs[index].data = torch.randn((2, 3, WIDTH), generator=torch.Generator().manual_seed(index))
    else:
        inputs[index].resize_(2, 2, WIDTH)


@settings(max_examples=60, deadline=None)
@given(order=st.lists(STEPS, max_size=12))
def test_any_order_gives_the_plain_results(layers, order):
    generator = torch.Generator().manual_seed(7)
    inputs = [torch.randn((2, 3, WIDTH), generator=generator) for _ in range(3)]
    groups = dict.fromkeys(layers, tuple(layers))
    shared = SharedInputs()
    shared.enter(groups)
    for what, first, second in order:
        if what == "call":
            x = inputs[second]
            assert torch.equal(layers[first].shared(shared, x), layers[first].plain(x))
        elif what == "write":
            write(inputs, first, second)
        elif what == "enter":
            shared.enter(groups)
        else:
            shared.leave()


def test_three_layers_quantize_once(layers):
    shared = SharedInputs()
    group = tuple(layers[:3])
    shared.enter(dict.fromkeys(group, group))
    x = torch.ones(1, 5, WIDTH)
    for layer in group:
        layer.shared(shared, x)
    assert (shared.quantized, shared.reused) == (1, 2)
    layers[0].shared(shared, x)  # nothing is kept behind the last layer of a group
    assert shared.quantized == 2


def test_an_equal_tensor_is_another_one(layers):
    shared = SharedInputs()
    group = tuple(layers[:3])
    shared.enter(dict.fromkeys(group, group))
    x = torch.ones(1, 5, WIDTH)
    for layer, given_x in zip(group, (x, x.clone(), x[:]), strict=True):
        layer.shared(shared, given_x)
    assert (shared.quantized, shared.reused) == (3, 0)


def test_another_kernel_than_the_layers_own_is_not_shared(layers):
    """A layer that computes on another kind of device for once, or in high precision."""
    shared = SharedInputs()
    group = tuple(layers[:2])
    shared.enter(dict.fromkeys(group, group))
    x = torch.randn((1, 5, WIDTH), generator=torch.Generator().manual_seed(1))
    other = next(k for k in KERNELS if k.name == "dequant" and k.format == "int8-channel")
    layers[0].shared(shared, x)
    got = shared.linear(layers[1], other, x, rows, layers[1].weight, layers[1].bias)
    expected = other.linear(rows(x), layers[1].weight._qdata, layers[1].weight._params, layers[1].bias)
    assert torch.equal(got, expected)
    assert shared.reused == 0


def test_no_token_at_all(layers):
    shared = SharedInputs()
    group = tuple(layers[:2])
    shared.enter(dict.fromkeys(group, group))
    assert layers[0].shared(shared, torch.empty(0, 5, WIDTH)).shape == (0, 32)
