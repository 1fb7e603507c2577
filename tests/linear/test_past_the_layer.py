"""Core multiplies some weights past their layer's forward, by the name of their layout: never ours, so that hooks,
LoRAs beside the weights and the chosen kernel take part."""

from functools import partial
from types import SimpleNamespace

import comfy.ops
import comfy.quant_ops
import comfy.weight_adapter
import pytest
import torch
from comfy_kitchen.tensor import QuantizedLayout, QuantizedTensor, base
from layers import HOLDING, NAME, K, N, layer_of
from older_comfyui import core_fuses_activations, core_knows_minimax_h3

from x2v_quant.calibration import Calibration
from x2v_quant.calibration.recorder import Recorder
from x2v_quant.calibration.shared_samples import SharedSamples
from x2v_quant.formats import FORMATS, int8_convrot
from x2v_quant.linear.layers import hooked
from x2v_quant.linear.parameters import lasting
from x2v_quant.runtime.sampling.nan_search import NanSearch

pytestmark = [pytest.mark.usefixtures("inference"), core_fuses_activations]
every_format = pytest.mark.parametrize("format_name", HOLDING)
# names of layouts that comfy_kitchen or core registers
CORES = {name: layout for name, layout in base.LAYOUTS.items() if layout.__module__.startswith("comfy")}


class FeedForward(torch.nn.Sequential):
    """Wan's ffn as ComfyUI 0.31 and newer call it; 0.30 has a plain Sequential there."""

    def forward(self, x):
        return comfy.ops.linear_input_act(self[2], self[0](x), "gelu_tanh")


def wan(layer):
    first = comfy.ops.manual_cast.Linear(N, K, device="cpu", dtype=torch.bfloat16)
    return FeedForward(first, torch.nn.GELU(approximate="tanh"), layer)


def minimax(layer):
    from comfy.ldm.minimax.model import MLP

    mlp = MLP(N, K, torch.bfloat16, "cpu", comfy.ops.manual_cast)
    mlp.fc2 = layer
    return mlp


every_caller = pytest.mark.parametrize("caller", [wan, pytest.param(minimax, marks=core_knows_minimax_h3)])


@pytest.fixture
def built(format_name, caller):
    """(the layer, a function: the output of a feed-forward block that ends with it)."""
    layer = layer_of(format_name)
    block = caller(layer).eval()
    generator = torch.Generator().manual_seed(0)
    for name, parameter in block.named_parameters():
        if not name.startswith(("2.", "fc2.")):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
    x = torch.randn((5, N), generator=generator).to(torch.bfloat16)
    return layer, partial(block, x)


def test_no_layout_is_one_of_cores_nor_inherits_from_one():
    """Newer releases give layouts methods that multiply: a subclass would have them."""
    assert {entry["comfy_tensor_layout"] for entry in comfy.quant_ops.QUANT_ALGOS.values()} <= CORES.keys()
    for row in FORMATS.values():
        assert row.layout_name not in CORES
        assert not [core for core in CORES.values() if issubclass(row.layout, core)]
        assert issubclass(row.layout, QuantizedLayout)


@every_caller
def test_cores_own_layout_is_taken_past_the_layer(caller):
    """What the tests below are about; where core stops doing so they have nothing left to find."""
    layer = layer_of("int8-convrot")
    layer.weight = lasting(QuantizedTensor(layer.weight._qdata, int8_convrot.CORES, layer.weight._params))
    layer._full_precision_mm = False  # what newer releases ask for
    seen = []
    layer.register_forward_hook(lambda *_: seen.append(1))
    caller(layer)(torch.zeros((2, N), dtype=torch.bfloat16))
    assert not seen


@every_caller
@every_format
def test_hooks_before_and_after_it_fire(built):
    layer, output = built
    seen = []
    hooks = {
        "before": lambda name, module, args, kwargs: seen.append(("before", args[0].shape)),
        "after": lambda name, module, args, kwargs, y: seen.append(("after", y.shape)),
    }
    with hooked({NAME: layer}, **hooks):
        output()
    assert seen == [("before", (5, K)), ("after", (5, N))]


@every_caller
@every_format
def test_its_kernel_computes(built):
    layer, output = built
    layer.kernel = SimpleNamespace(linear=lambda x, *_: x.new_full((len(x), N), 7.0), steps=None)
    assert torch.equal(output(), torch.full((5, N), 7.0, dtype=torch.bfloat16))


@every_caller
@every_format
def test_a_lora_beside_the_weight_changes_the_output(built):
    layer, output = built
    plain = output()
    generator = torch.Generator().manual_seed(1)
    up, down = torch.randn((N, 4), generator=generator), torch.randn((4, K), generator=generator)
    adapter = comfy.weight_adapter.LoRAAdapter(set(), (up, down, 4.0, None, None, None))
    manager = comfy.weight_adapter.BypassInjectionManager()
    manager.add_adapter(f"{NAME}.weight", adapter)
    model = torch.nn.Module()
    model.add_module("blocks", torch.nn.ModuleList([torch.nn.ModuleDict({"layer": layer})]))
    patcher = SimpleNamespace(model=model)
    injections = manager.create_injections(model)
    for injection in injections:
        injection.inject(patcher)
    inputs = []
    with hooked({NAME: layer}, before=lambda name, module, args, kwargs: inputs.append(args[0])):
        changed = output()
    wanted = plain.float() + inputs[0].float() @ (up @ down).t()
    assert (changed.float() - wanted).norm() < 0.02 * wanted.norm()
    assert (changed - plain).norm() > 0.1 * plain.norm()
    for injection in injections:
        injection.eject(patcher)
    assert torch.equal(output(), plain)


@every_caller
@pytest.mark.parametrize("format_name", ["int8-convrot", "w4a8", "mxfp8", "nvfp4"])
def test_a_calibration_and_a_nan_search_see_it(built):
    layer, output = built
    calibration, search = Calibration(), NanSearch()
    with hooked({NAME: layer}, before=partial(Recorder(calibration).record, SharedSamples(0))):
        output()
    assert calibration.tokens == {NAME: 5}
    model = torch.nn.ModuleDict({"layer": layer})
    layer.bias.fill_(torch.nan)
    x = torch.zeros(1)
    with search.watching(model, (x, x, x, x), {}):
        output()
    assert search.culprit(x).layer == "layer"
