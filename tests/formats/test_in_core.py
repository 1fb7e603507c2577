"""What core does to a quantized weight: it gathers, flattens, moves, copies and saves every tensor of it."""

import torch
from comfy_kitchen.tensor import QuantizedTensor

from x2v_quant.formats.requantize import requantized

from .weights import every_format, same_bits, weight


def stored_both_ways(row):
    """A weight of the format; of fp8-tensor also one that was calibrated and has a scale per row, of a smoothed format
    one whose factors are not all one."""
    tensors = [row.quantize(weight(row), torch.float32)]
    if row.name == "fp8-tensor":
        static = {"input_scale": torch.tensor([0.25]), "per_row": True}
        tensors.append(QuantizedTensor.from_float(weight(row), row.layout_name, **static))
    if row.smooth:
        tensors.append(
            row.quantize(weight(row), torch.float32, pre_quant_scale=torch.logspace(-2, 0, weight(row).shape[1]))
        )
    return tensors


@every_format
def test_core_gathers_and_flattens_it_without_loss(row):
    from comfy.memory_management import interpret_gathered_like, vram_aligned_size
    from comfy.model_management import cast_to_gathered

    for tensor in stored_both_ways(row):
        bias = torch.randn(33)
        buffer = torch.zeros(vram_aligned_size([tensor, bias]), dtype=torch.uint8)
        cast_to_gathered([tensor, bias], buffer)
        back, bias_back = interpret_gathered_like([tensor, bias], buffer)
        for one, other in zip(
            row.parts(back._qdata, back._params), row.parts(tensor._qdata, tensor._params), strict=True
        ):
            assert same_bits(one, other)
            assert one.dtype == other.dtype
        assert torch.equal(bias_back, bias)
        names, context = tensor.__tensor_flatten__()
        assert len(names) == len(row.tensors)
        rebuilt = QuantizedTensor.__tensor_unflatten__({n: getattr(tensor, n) for n in names}, context, None, None)
        assert torch.equal(rebuilt.dequantize(), tensor.dequantize())


@every_format
def test_moves_clones_and_copies_take_every_tensor_along(row):
    for tensor in stored_both_ways(row):
        other = requantized(tensor, weight(row, seed=1) * 3, scale="recalculate", stochastic_rounding=0)
        clone = tensor.clone()
        clone.copy_(other)
        assert torch.equal(clone.dequantize(), other.dequantize())
        assert not torch.equal(tensor.dequantize(), other.dequantize())
        moved = tensor.to("meta")
        assert {part.device.type for part in row.parts(moved._qdata, moved._params)} == {"meta"}


@every_format
def test_it_is_saved_under_names_that_start_with_weight(row):
    w4a8 = ["weight_s_rel", "weight_s_channel", "weight_codebook"]
    beside = {"nvfp4": ["weight_scale", "weight_scale_2"], "awq-w4a16": ["weight_scale", "weight_zeros"], "w4a8": w4a8}
    names = ["weight", *beside.get(row.family, ["weight_scale"])]
    assert list(row.quantize(weight(row), torch.float32).state_dict("weight")) == names
