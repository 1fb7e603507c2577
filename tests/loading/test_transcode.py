"""Weights that this machine cannot multiply become another format at load, if the user lets them."""

import pytest
import torch
from distance import distance

from x2v_quant.checkpoints import Weights
from x2v_quant.checkpoints.checkpoint import StoredWeight
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.machine import Machine, describe
from x2v_quant.loading.common import state_dict
from x2v_quant.loading.dit import load_dit
from x2v_quant.schemes import SchemeChoice, resolve
from x2v_quant.schemes.plan import Plan

NOTHING = frozenset()
RTX3060 = Machine("cuda", "RTX 3060", (8, 6), libraries=NOTHING)
RTX4090 = Machine("cuda", "RTX 4090", (8, 9), libraries=NOTHING)
GTX1080 = Machine("cuda", "GTX 1080", (6, 1), libraries=NOTHING)
VNNI = Machine("cpu", "CPU (x86_64)", vnni=True, libraries=NOTHING)
OLD_CPU = Machine("cpu", "CPU (x86_64)", libraries=NOTHING)


@pytest.mark.parametrize(
    "machine,transcode,expected",
    [
        (RTX3060, True, "int8-channel"),
        (RTX3060, False, "fp8-channel"),
        (VNNI, True, "int8-channel"),
        (RTX4090, True, "fp8-channel"),
        (GTX1080, True, "fp8-channel"),
        (OLD_CPU, True, "fp8-channel"),
    ],
    ids=str,
)
def test_auto_takes_int8_where_fp8_cannot_multiply(machine, transcode, expected):
    plan = Plan("model.safetensors", resolve("auto"), machine, torch.bfloat16, transcode=transcode)
    assert plan.assign("blocks.0", "fp8-channel", (1536, 1536)).choice.format == expected


def test_int8_is_never_transcoded():
    plan = Plan("model.safetensors", resolve("auto"), GTX1080, torch.bfloat16, transcode=True)
    assert not plan.assign("blocks.0", "int8-channel", (1536, 1536)).converted


@pytest.mark.usefixtures("inference")
def test_a_shape_that_the_format_cannot_hold_stays_as_it_is_and_is_told():
    loaded = FORMATS["int8-channel"].quantize(torch.randn(16, 257), torch.float32)
    tensors = {"codes": loaded._qdata, "scale": loaded._params.scale}
    weights = Weights(quantized={"blocks.0.ffn.0": StoredWeight("int8-channel", (16, 257), tensors)})
    plan = Plan("odd.safetensors", resolve("int4-g128-convrot-dequant"), describe(torch.device("cpu")), torch.float32)
    (made,) = (tensor for name, tensor in state_dict(weights, plan).items() if name.endswith(".weight"))
    assert torch.equal(made.dequantize(), loaded.dequantize())
    assert "- int4-g128-convrot does not take the shape of 1 layer: the file's format stays" in plan.lines()


@pytest.mark.usefixtures("inference")
@pytest.mark.parametrize("target", ["int8-torch", "int8-reference"])
def test_the_cost_in_accuracy_is_measured_and_told(target, wan_files):
    _, path = wan_files["fp8-channel"]
    plan = load_dit(path, SchemeChoice(dit=target, transcode=True)).model.x2v_plan
    entry = next(iter(plan.layers.values()))
    assert (entry.file_format, entry.choice.format) == ("fp8-channel", "int8-channel")
    assert 0.002 < entry.added_error < 0.02
    words = "\n".join(plan.lines())
    assert "converted from fp8-channel, which adds 0." in words
    assert "to the error of the weights" in words


@pytest.mark.usefixtures("inference")
def test_the_stated_cost_is_the_real_one(wan_files):
    import safetensors.torch

    _, path = wan_files["fp8-channel"]
    model = load_dit(path, SchemeChoice(dit="int8-reference", transcode=True))
    layer = "blocks.0.ffn.0"
    file = safetensors.torch.load_file(path)
    before = file[f"{layer}.weight"].float() * file[f"{layer}.weight_scale"].float()
    stored = dict(model.model.diffusion_model.named_modules())[layer].weight
    after = stored._qdata.float() * stored._params.scale
    error = distance(after, before)
    assert model.model.x2v_plan.layers[layer].added_error == pytest.approx(error, rel=1e-3)
    assert stored._layout_cls == FORMATS["int8-channel"].layout_name
