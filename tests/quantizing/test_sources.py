"""Models that were quantized, cast or wrapped before, by whoever loaded them."""

import json

import comfy.model_management
import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from distance import distance
from older_comfyui import read_by_core
from safetensors.torch import load_file

from x2v_quant.benchmarks.models import marked
from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.demo import assets
from x2v_quant.formats import FORMATS
from x2v_quant.loading.dit import load_dit

pytestmark = pytest.mark.usefixtures("inference")
LAYER = "blocks.1.ffn.0"


@pytest.fixture
def ours(demo_models):
    return lambda kind: load_dit(str(demo_models / "diffusion_models" / assets.names(kind).t2v))


def weight_of(model, name=LAYER):
    return model.model.diffusion_model.get_submodule(name).weight


def test_a_layer_of_the_same_format_keeps_its_codes(ours, quantize, sample):
    model = ours("int8")
    made = quantize(model, "int8-channel")
    assert weight_of(made)._qdata.data_ptr() == weight_of(model)._qdata.data_ptr()
    assert not [line for line in made.model.x2v_plan.lines() if "converted" in line]
    assert torch.equal(sample(made), sample(quantize(model, "int8-channel")))


def test_a_layer_of_another_format_is_quantized_again_and_the_report_says_so(ours, quantize, dense, sample):
    model = ours("int8")
    before = weight_of(model).to(dtype=torch.float32).dequantize()
    made = quantize(model, "fp8-channel", "ffn.2 = int8-channel")
    assert torch.equal(weight_of(made)._qdata, FORMATS["fp8-channel"].quantize(before, torch.float32)._qdata)
    lines = made.model.x2v_plan.lines()
    assert any(line.startswith("- converted from int8-channel, which adds") for line in lines), lines
    plan = made.model.x2v_plan.layers
    assert (plan["blocks.0.ffn.2"].converted, plan["blocks.0.ffn.2"].added_error) == (False, 0)
    assert 0.01 < plan[LAYER].added_error < 0.05
    assert distance(sample(made), sample(dense())) < 0.15


def test_a_layer_of_ours_that_is_kept_stays_quantized_as_it_is(ours, quantize, sample):
    model = ours("int8")
    made = quantize(model, "fp8-channel", "blocks.0.* = keep")
    assert made.model.x2v_plan.layers["blocks.0.ffn.0"].choice.format == "int8-channel"
    assert weight_of(made, "blocks.0.ffn.0")._qdata.data_ptr() == weight_of(model, "blocks.0.ffn.0")._qdata.data_ptr()
    assert torch.isfinite(sample(made)).all()


# core's name -> (what the demo's writer calls it, our name)
CORES = {"int8_tensorwise": ("int8", "int8-channel"), "float8_e4m3fn": ("fp8-tensor", "fp8-tensor")}


@pytest.fixture
def cores(demo_models):
    """cores(name) -> the demo's model in one of core's own formats, loaded by core."""
    import comfy.sd

    def load(name):
        tensors = quantized(
            load_file(demo_models / "diffusion_models" / assets.names("bf16").t2v), CORES[name][0], "dit"
        )
        config = json.dumps({"transformer": {"text_dim": tensors["text_embedding.0.weight"].shape[1]}})
        return comfy.sd.load_diffusion_model_state_dict(marked(tensors, name), metadata={"config": config})

    return load


@pytest.mark.parametrize("name", read_by_core(CORES))
def test_cores_own_layers_of_the_same_format_keep_their_codes(name, cores, quantize, sample):
    core, ours = cores(name), CORES[name][1]
    assert isinstance(weight_of(core), QuantizedTensor)
    made = quantize(core, ours)
    assert weight_of(made)._qdata.data_ptr() == weight_of(core)._qdata.data_ptr()
    assert torch.equal(weight_of(made).dequantize(), weight_of(core).to(dtype=torch.float32).dequantize())
    assert not [line for line in made.model.x2v_plan.lines() if "converted" in line]
    kept = quantize(core, ours, "blocks.0.* = keep")
    assert weight_of(kept, "blocks.0.ffn.0").layout_cls is weight_of(core).layout_cls
    wanted = sample(core)
    assert distance(sample(made), wanted) < 0.02
    assert distance(sample(kept), wanted) < 0.02


@pytest.mark.parametrize("name", read_by_core(CORES))
def test_cores_own_layers_run_on_after_core_has_unloaded_them(name, cores, quantize, sample):
    """Which the model that core made does not: it was unloaded before it got here."""
    core = cores(name)
    sample(core)
    with torch.inference_mode(False):
        comfy.model_management.unload_all_models()
    kept = quantize(core, CORES[name][1], "blocks.0.* = keep")
    wanted = sample(kept)
    for _ in range(2):
        with torch.inference_mode(False):
            comfy.model_management.unload_all_models()
        assert torch.equal(sample(kept), wanted)


@pytest.mark.parametrize("name", read_by_core(CORES))
def test_cores_own_layers_are_read_through_their_scales(name, cores, quantize, sample):
    core = cores(name)
    made = quantize(core, "fp8-channel")
    before = weight_of(core).to(dtype=torch.float32).dequantize()
    assert torch.equal(weight_of(made)._qdata, FORMATS["fp8-channel"].quantize(before, torch.float32)._qdata)
    assert made.model.x2v_plan.layers[LAYER].file_format == CORES[name][1]
    assert distance(sample(made), sample(core)) < 0.1


def test_weights_cast_to_fp8_by_core_are_taken_as_they_are(dense, quantize, sample):
    cast = dense(dtype=torch.float8_e4m3fn)
    assert weight_of(cast).dtype is torch.float8_e4m3fn
    made = quantize(cast, "int8-channel")
    expected = FORMATS["int8-channel"].quantize(weight_of(cast).float(), torch.float32)
    assert torch.equal(weight_of(made)._qdata, expected._qdata)
    assert distance(sample(made), sample(cast)) < 0.05


class Packed(torch.Tensor):
    """Float16 weights as bytes, in a tensor as packs with formats of their own have them: its shape is not the
    weight's, and it gives itself when it is detached."""

    def detach(self):
        return self


def packed_operations(prefix=""):
    """Operations whose linear layers hold Packed weights and unpack them in their forward."""
    import comfy.ops

    class Operations(comfy.ops.manual_cast):
        class Linear(comfy.ops.manual_cast.Linear):
            def _load_from_state_dict(self, state_dict, prefix, *args):
                weight = state_dict[f"{prefix}weight"].half().view(torch.uint8)
                self.weight = torch.nn.Parameter(weight.as_subclass(Packed), requires_grad=False)
                self.bias = torch.nn.Parameter(state_dict[f"{prefix}bias"], requires_grad=False)

            def forward(self, input, *args, **kwargs):
                weight = self.weight.as_subclass(torch.Tensor).view(torch.float16)
                return torch.nn.functional.linear(input, weight.to(input.dtype), self.bias.to(input.dtype))

    return Operations


def test_a_weight_that_only_its_layer_understands_is_read_through_it(dense, quantize, sample, with_lora):
    packed = dense(custom_operations=packed_operations())
    bytes_before = weight_of(packed).as_subclass(torch.Tensor).clone()
    made = quantize(packed)
    original = weight_of(dense()).half().float()
    assert distance(weight_of(made).dequantize(), original) < 0.01
    assert not [layer for layer in made.model.modules() if isinstance(getattr(layer, "weight", None), Packed)]
    assert torch.equal(weight_of(packed).as_subclass(torch.Tensor), bytes_before)
    assert distance(sample(made), sample(packed)) < 0.05
    assert distance(sample(with_lora(made)), sample(with_lora(dense()))) < 0.1


def test_a_parameter_that_gives_itself_when_detached_is_not_shared():
    from x2v_quant.quantizing.copying import Copier

    layer = torch.nn.Linear(4, 4)
    layer.weight = torch.nn.Parameter(torch.zeros(4, 8, dtype=torch.uint8).as_subclass(Packed), requires_grad=False)
    layer.weight.note = "kept"
    made = Copier({}).of(layer)
    assert made.weight is not layer.weight
    assert (type(made.weight), made.weight.note) == (Packed, "kept")
    assert made.weight.data_ptr() == layer.weight.data_ptr()
