"""Weights in core's own layouts are taken over with their codes, into layouts of ours."""

from types import SimpleNamespace

import pytest
import torch
from comfy_kitchen.tensor import QuantizedTensor
from older_comfyui import core_has_w4a8, core_rotates_int8

from x2v_quant.formats import FORMATS, format_of, int8_convrot, w4a8
from x2v_quant.quantizing.stored_format import in_our_layout

ROTATED = {"per_channel": True, "convrot": True}
# our format -> core's layout, what its quantizer takes
CORES = [
    pytest.param("int8-convrot", int8_convrot.CORES, ROTATED, marks=core_rotates_int8),
    pytest.param("int8-convrot-64", int8_convrot.CORES, ROTATED | {"convrot_groupsize": 64}, marks=core_rotates_int8),
    pytest.param("w4a8", w4a8.CORES, {}, marks=core_has_w4a8),
    pytest.param(w4a8.name_of(16), w4a8.CORES, {"convrot_groupsize": 16}, marks=core_has_w4a8),
    ("mxfp8", "TensorCoreMXFP8Layout", {}),
    ("nvfp4", "TensorCoreNVFP4Layout", {"scale": "recalculate"}),
]


def of_core(layout, **options):
    weight = torch.randn((64, 512), generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(weight=QuantizedTensor.from_float(weight, layout, **options))


@pytest.mark.parametrize("name,layout,options", CORES)
def test_the_same_tensors_under_our_name(name, layout, options):
    layer = of_core(layout, **options)
    ours = in_our_layout(layer)
    assert format_of(ours).name == name
    assert ours._layout_cls == FORMATS[name].layout_name != layout
    assert ours._qdata.data_ptr() == layer.weight._qdata.data_ptr()
    torch.testing.assert_close(ours.dequantize(), layer.weight.dequantize(), rtol=1e-5, atol=1e-6)
    saved, theirs = (tensor.state_dict("weight") for tensor in (ours, layer.weight))
    assert saved.keys() == theirs.keys()
    assert all(saved[key].data_ptr() == theirs[key].data_ptr() for key in saved)


@core_has_w4a8
@pytest.mark.parametrize("options", [{"codebook": False}, {"group_size": 32}], ids=["no table", "groups of 32"])
def test_variants_of_w4a8_that_no_format_has_stay_cores(options):
    assert in_our_layout(of_core(w4a8.CORES, **options)) is None
