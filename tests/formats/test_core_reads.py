"""What is saved under one of core's format names is read by core as the same weight."""

import json

import pytest
import torch
from older_comfyui import read_by_core

from x2v_quant.core.features import reads_rotated_int4, reads_w4a8
from x2v_quant.formats import FORMATS


def stored(name):
    w = torch.randn((64, 96), generator=torch.Generator().manual_seed(0))
    extra = {"input_scale": torch.tensor([0.5])} if name == "fp8-tensor" else {}
    return FORMATS[name].quantize(w, torch.float32, **extra), extra


def core_linear(tensors, marker, settings=()):
    import comfy.ops

    linear = comfy.ops.mixed_precision_ops({}, torch.float32).Linear(96, 64, bias=False)
    data = torch.tensor(list(json.dumps({"format": marker, **dict(settings)}).encode()), dtype=torch.uint8)
    linear.load_state_dict({**tensors, "comfy_quant": data})
    return linear


FORMATS_OF_CORE = ["int8-channel", "int8-convrot-16", "w4a8-16", "fp8-tensor", "mxfp8", "nvfp4", "awq-w4a16-32"]


@pytest.mark.parametrize("name", read_by_core(FORMATS_OF_CORE))
def test_core_reads_the_same_weight(name):
    tensor, extra = stored(name)
    row = FORMATS[name]
    linear = core_linear({**tensor.state_dict("weight"), **extra}, row.marker_of(tensor._params), row.settings)
    assert tuple(linear.weight.shape) == (64, 96)
    torch.testing.assert_close(linear.weight.dequantize(), tensor.dequantize(), rtol=1e-6, atol=0)
    if extra:
        assert torch.equal(linear.input_scale, extra["input_scale"])


NEWER = {"asym_w4a8_int8": reads_w4a8(), "convrot_w4a4": reads_rotated_int4()}
CORES = {"int8_tensorwise", "float8_e4m3fn", "mxfp8", "nvfp4", *(name for name, known in NEWER.items() if known)}


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.marker not in CORES])
def test_core_refuses_what_only_we_read(name):
    with pytest.raises(KeyError, match=FORMATS[name].marker):
        core_linear({"weight": torch.zeros(64, 96)}, FORMATS[name].marker)
