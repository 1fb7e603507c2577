"""fp8-tensor: what a LoRA keeps, and when a saved layer may carry core's name."""

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor

from x2v_quant.formats import FORMATS
from x2v_quant.formats.requantize import requantized

ROW = FORMATS["fp8-tensor"]


def stored(per_row, input_scale):
    w = torch.randn((32, 48), generator=torch.Generator().manual_seed(0))
    return QuantizedTensor.from_float(w, ROW.layout_name, per_row=per_row, input_scale=input_scale)


@pytest.mark.parametrize("per_row", [False, True], ids=["one-scale", "scale-per-row"])
@pytest.mark.parametrize("input_scale", [None, torch.tensor([0.5])], ids=["dynamic", "static"])
def test_a_lora_keeps_input_scale_and_the_number_of_scales(per_row, input_scale):
    tensor = stored(per_row, input_scale)
    assert tensor._params.scale.shape == (32 if per_row else 1, 1)
    assert tensor._params.input_scale.tolist() == ([] if input_scale is None else [0.5])
    patched = requantized(tensor, tensor.dequantize() + 1, scale="recalculate", stochastic_rounding=3, inplace_ops=True)
    assert patched._params.scale.shape == tensor._params.scale.shape
    assert not torch.equal(patched._params.scale, tensor._params.scale)
    assert torch.equal(patched._params.input_scale, tensor._params.input_scale)


@pytest.mark.parametrize(
    "per_row,input_scale,marker",
    [
        (False, torch.tensor([0.5]), "float8_e4m3fn"),
        (True, torch.tensor([0.5]), "fp8-tensor"),
        (False, None, "fp8-tensor"),
    ],
)
def test_it_is_marked_as_cores_only_where_core_computes_the_same(per_row, input_scale, marker):
    assert ROW.marker_of(stored(per_row, input_scale)._params) == marker


def test_one_scale_is_saved_as_core_spells_it():
    assert stored(False, None).state_dict("weight")["weight_scale"].shape == ()
    assert stored(True, None).state_dict("weight")["weight_scale"].shape == (32, 1)
