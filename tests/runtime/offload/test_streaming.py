"""Blocks that stream through buffers compute what they compute where they lie."""

import gc
import weakref

import pytest
import torch

from x2v_quant.core.features import rotates_int8
from x2v_quant.formats import FORMATS
from x2v_quant.runtime.offload.blocks import blocks_of
from x2v_quant.runtime.offload.copy_stream import HostCopyStream
from x2v_quant.runtime.offload.slab import parameters_in
from x2v_quant.runtime.offload.streaming import Streamer

CPU = torch.device("cpu")
WIDTH = 256
KINDS = (
    "float",
    "int8-channel",
    *(["int8-convrot-64"] if rotates_int8() else []),
    "fp8-channel",
    "int4-g128",
    "nvfp4",
    "w4a8-64",
)


class Layer(torch.nn.Module):
    """A linear layer whose weight may be quantized."""

    def __init__(self, kind: str, rows: int):
        super().__init__()
        weight = torch.randn(rows, WIDTH) / WIDTH**0.5
        if kind != "float":
            weight = FORMATS[kind].quantize(weight, torch.float32)
        self.weight = torch.nn.Parameter(weight, requires_grad=False)
        self.bias = torch.nn.Parameter(torch.randn(rows) * 0.1, requires_grad=False)

    def forward(self, x):
        weight = self.weight.dequantize() if hasattr(self.weight, "dequantize") else self.weight
        return torch.nn.functional.linear(x, weight, self.bias)


class Block(torch.nn.Module):
    def __init__(self, kind: str):
        super().__init__()
        self.first, self.second = Layer(kind, 384), torch.nn.Linear(384, WIDTH)
        self.modulation = torch.nn.Parameter(torch.randn(WIDTH), requires_grad=False)

    def forward(self, x):
        return x + self.second(torch.tanh(self.first(x))) * self.modulation


class Model(torch.nn.Module):
    def __init__(self, kind: str = "float", count: int = 5, order=None):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = torch.nn.ModuleList(Block(kind) for _ in range(count))
        self.order = list(range(count)) if order is None else order

    def forward(self, x, streamer=None):
        for index in self.order:
            if streamer is not None:
                streamer.enter(f"blocks.{index}")
            x = self.blocks[index](x)
        return x


def streamer_of(model, **options):
    options = {"is_away": lambda parameter: True, **options}
    return Streamer(blocks_of(model), HostCopyStream(CPU), **options)


def run(model, streamer, x):
    streamer.begin()
    try:
        return model(x, streamer)
    finally:
        streamer.end()


def values(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}


@torch.inference_mode()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("from_file", [False, True], ids=["ram", "file"])
@pytest.mark.parametrize("ahead", [0, 1, 2, 9])
def test_the_result_is_the_same_bit_for_bit(kind, from_file, ahead):
    model = Model(kind)
    x = torch.randn(3, WIDTH)
    expected = model(x)
    streamer = streamer_of(model, ahead=ahead, from_file=from_file)
    for _ in range(3):
        assert torch.equal(run(model, streamer, x), expected)
    streamer.close()
    assert torch.equal(model(x), expected)


@torch.inference_mode()
@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [0, 2, 1, 4], [0, 1, 1, 2, 3, 4, 0], [3]])
@pytest.mark.parametrize("from_file", [False, True], ids=["ram", "file"])
def test_blocks_may_run_in_any_order(order, from_file):
    model = Model("int8-channel", order=order)
    x = torch.randn(3, WIDTH)
    expected = model(x)
    streamer = streamer_of(model, ahead=1, from_file=from_file)
    for _ in range(3):
        assert torch.equal(run(model, streamer, x), expected)
    streamer.close()


@torch.inference_mode()
def test_an_order_is_learnt():
    model = Model(order=[4, 3, 2, 1, 0])
    streamer = streamer_of(model)
    run(model, streamer, torch.randn(1, WIDTH))
    assert streamer.names == [f"blocks.{index}" for index in model.order]


class Copies(HostCopyStream):
    """Counts what is brought."""

    def __init__(self):
        super().__init__(CPU)
        self.count, self.bytes = 0, 0

    def copy(self, source, target, after):
        self.count += 1
        super().copy(source, target, after)

    def allocate(self, count):
        self.bytes += count
        return super().allocate(count)


@torch.inference_mode()
@pytest.mark.parametrize("ahead", [0, 1, 2])
def test_each_block_is_brought_once_a_run(ahead):
    model, stream = Model(), Copies()
    streamer = Streamer(blocks_of(model), stream, lambda parameter: True, ahead=ahead)
    for _ in range(4):
        run(model, streamer, torch.randn(1, WIDTH))
    # and what the last run has brought ahead for the next
    assert stream.count == 4 * len(model.blocks) + ahead
    assert stream.bytes <= (ahead + 1) * (sum(p.nbytes for p in model.blocks[0].parameters()) + 5 * 1024)


@torch.inference_mode()
def test_blocks_that_are_there_are_left_alone():
    model, stream = Model(), Copies()
    there = {id(parameter) for block in model.blocks[:3] for parameter in block.parameters()}
    streamer = Streamer(blocks_of(model), stream, lambda parameter: id(parameter) not in there)
    before = [model.blocks[0].first.weight, model.blocks[0].first.weight.data_ptr()]
    for _ in range(2):
        run(model, streamer, torch.randn(1, WIDTH))
        there |= {id(parameter) for block in model.blocks[:3] for parameter in block.parameters()}
    assert streamer.names == ["blocks.3", "blocks.4"]
    assert [model.blocks[0].first.weight, model.blocks[0].first.weight.data_ptr()] == before


@torch.inference_mode()
@pytest.mark.parametrize("from_file", [False, True], ids=["ram", "file"])
def test_an_exception_in_a_block_leaves_the_model_as_it_was(from_file):
    model = Model("fp8-channel")
    x, before = torch.randn(2, WIDTH), values(model)
    expected = model(x)
    streamer = streamer_of(model, from_file=from_file)
    hook = model.blocks[2].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(model, streamer, x)
    hook.remove()
    after = values(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(run(model, streamer, x), expected)
    streamer.close()


@torch.inference_mode()
@pytest.mark.parametrize("from_file", [False, True], ids=["ram", "file"])
def test_new_weights_are_seen(from_file):
    model = Model()
    x = torch.randn(2, WIDTH)
    streamer = streamer_of(model, from_file=from_file)
    run(model, streamer, x)
    streamer.free_device()
    for block in model.blocks:
        block.second.weight = torch.nn.Parameter(torch.randn(WIDTH, 384) * 0.1, requires_grad=False)
    expected = model(x)
    assert torch.equal(run(model, streamer, x), expected)
    model.blocks[1].second.weight.mul_(2)
    streamer.free_device()
    expected = model(x)
    assert torch.equal(run(model, streamer, x), expected)
    streamer.close()


@torch.inference_mode()
def test_a_slab_takes_the_place_of_the_parameters():
    model = Model("int8-channel")
    old = [weakref.ref(block.first.weight._qdata.untyped_storage()) for block in model.blocks]
    streamer = streamer_of(model)
    run(model, streamer, torch.randn(1, WIDTH))
    streamer.leave()
    gc.collect()
    assert all(reference() is None for reference in old)
    storages = [{p.data_ptr() for p in [block.second.weight]} for block in model.blocks]
    assert len(storages) == len(model.blocks)
    slab = model.blocks[0].second.weight.untyped_storage()
    assert slab.data_ptr() == model.blocks[0].second.bias.untyped_storage().data_ptr()


@torch.inference_mode()
@pytest.mark.parametrize("from_file", [False, True], ids=["ram", "file"])
def test_nothing_keeps_a_closed_streamer_or_its_buffers(from_file):
    model = Model()
    streamer = streamer_of(model, from_file=from_file)
    run(model, streamer, torch.randn(1, WIDTH))
    buffers = [weakref.ref(slot.buffer) for slot in streamer._slots]
    assert buffers
    streamer.close()
    gc.collect()
    assert all(buffer() is None for buffer in buffers)


def test_a_parameter_of_two_modules_is_taken_once():
    block = Block("float")
    block.again = block.second
    assert len(parameters_in(block, lambda parameter: True)) == 5
