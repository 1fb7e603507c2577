"""From one format to another: exactly where both hold the same numbers, else through float32."""

from collections.abc import Callable

import torch
from comfy_kitchen.tensor import QuantizedTensor

from . import FORMATS, ROTATIONS, UNSMOOTHED, family, format_of, int4_marlin, int8_convrot, w4a8
from .fp8_reduced import Fp8ReducedLayout
from .w4a8_codes import levels

# between two families, without the user's asking: one scale for all rows is a scale per row, and the static input scale
# is left for the finer one of each token; codes of 4 bits stand for int8 ones, which take more memory and less time
UNASKED = {("fp8-tensor", "fp8-channel"), (w4a8.NAME, int8_convrot.NAME)}

# codes above each take one more halving; the last halves 448 for the fourth time
LIMITS = tuple(Fp8ReducedLayout.MAX * 2**i for i in range(4))


def convert(weight: QuantizedTensor, target: str) -> QuantizedTensor:
    """`weight` [N, K] in the format named `target`, of the same dtype and on the same device; a smoothed format keeps
    its smoothing if the target has one."""
    source = format_of(weight).name
    if source == target:
        return weight
    both_smooth = FORMATS[source].smooth and FORMATS[target].smooth
    kept = {"pre_quant_scale": weight._params.pre_quant_scale} if both_smooth else {}
    repack = repacking(source, target)
    if repack is not None:
        tensors = repack(weight._qdata, weight._params) | kept
        return FORMATS[target].wrap(tensors, weight.dtype, tuple(weight.shape))
    return FORMATS[target].quantize(weight.to(dtype=torch.float32).dequantize(), weight.dtype, **kept)


def repacking(source: str, target: str) -> "Repack | None":
    """How one format becomes another with the same numbers; two smoothed ones as without the factor, which stays."""
    if FORMATS[source].smooth and FORMATS[target].smooth:
        source, target = UNSMOOTHED[source], UNSMOOTHED[target]
    return REPACKINGS.get((source, target))


def added_error(weight: QuantizedTensor, converted: QuantizedTensor) -> float:
    """Relative Frobenius distance of `converted` from `weight`: what the conversion costs in accuracy."""
    before = weight.to(dtype=torch.float32).dequantize()
    after = converted.to(dtype=torch.float32).dequantize()
    return float((after - before).norm() / before.norm().clamp(min=1e-30))


def serves(stored: str, target: str) -> bool:
    """Whether a scheme for `target` fits a file of `stored` weights: one family, or the same numbers and activations
    that are quantized no worse."""
    return family(stored) == family(target) or (family(stored), family(target)) in UNASKED


def _same(codes, params):
    return {"codes": codes, "scale": params.scale}


def _to_reduced(codes, params):
    """Rows with codes above 28 are divided by the power of two that takes them below, their scales multiplied by it.

    Exact but for codes that become subnormal, which round to even: in a row that reached 448 the smallest step was
    2**-9 and is 2**-5 then, 1/14336 of the row's maximum.
    """
    values = codes.to(torch.bfloat16)  # exact
    halvings = (values.abs().amax(dim=1, keepdim=True) > torch.tensor(LIMITS, device=codes.device)).sum(1, keepdim=True)
    factor = torch.ones_like(halvings).bitwise_left_shift(halvings)
    return {"codes": values.div_(factor).to(codes.dtype), "scale": params.scale * factor}


def _tensor_to_channel(codes, params):
    return {"codes": codes, "scale": params.scale.expand(codes.shape[0], 1).contiguous()}


def _channel_to_tensor(codes, params):
    """Without an input_scale: nothing has been calibrated."""
    return {"codes": codes, "scale": params.scale, "input_scale": params.scale.new_empty(0)}


def _to_marlin(codes, params):
    return {"codes": int4_marlin.pack(codes), "scale": int4_marlin.pack_scale(params.scale)}


def _from_marlin(codes, params):
    return {"codes": int4_marlin.unpack(codes), "scale": int4_marlin.unpack_scale(params.scale)}


def _spread_out(codes, params):
    return {
        "codes": levels(codes, params.scale, params.codebook),
        "scale": params.s_channel.unsqueeze(1),
    }


# codes and Params of one format -> the tensors of the other, but for a pre_quant_scale
Repack = Callable[[torch.Tensor, object], dict[str, torch.Tensor]]
# (from, to), without smoothing. Every pair of one family that is set alike has its row, and pairs of two families that
# hold the same numbers.
REPACKINGS: dict[tuple[str, str], Repack] = {
    ("fp8-channel", "fp8-reduced"): _to_reduced,
    ("fp8-reduced", "fp8-channel"): _same,
    ("fp8-tensor", "fp8-channel"): _tensor_to_channel,
    ("fp8-channel", "fp8-tensor"): _channel_to_tensor,
    ("int4-g128", "int4-g128-marlin"): _to_marlin,
    ("int4-g128-marlin", "int4-g128"): _from_marlin,
    **{
        (name, ROTATIONS[int8_convrot.NAME][rotation]): _spread_out
        for rotation, name in ROTATIONS[w4a8.NAME].items()
        if rotation in ROTATIONS[int8_convrot.NAME]
    },
}
