"""Quantized layers that this version does not read: what they look like, so that the refusal can name it."""

import math
from collections.abc import Mapping

from ..formats.fp8_block128 import BLOCK
from .encodings.scales import FLOATS
from .tensor_info import TensorInfo

BLOCKS = (BLOCK, 64, 32, 16, 256, 512)
SHORT = {"float8_e4m3fn": "fp8", "float8_e5m2": "fp8-e5m2", "int8": "int8"}
E8M0 = ("float8_e8m0fnu", "uint8")
# bytes of packed codes per scale of 32 values -> format
PACKED_MX = {16: "mxfp4", 24: "mxfp6"}
OTHER_ORDER = "with scales in another order than LightX2V's"
CODES_PER_WORD = 8
# how a name ends -> what a tensor of that name does to its layer
MEANINGS = {
    ("zero_point", "zero_points"): "has zero points (asymmetric quantization)",
    ("pre_quant_scale", "smooth_scale", "smooth_factor", "smoothing_factor"): "smooths the activations of its layer",
    ("svd_up", "svd_down", "proj_up_lora", "proj_down_lora"): "is a low-rank correction (SVDQuant)",
}
# of a tensor that seems to be the scale of int8 or fp8 codes
OTHER_NAME = "seems to be a scale, and its name does not tell whether codes are multiplied or divided by it"
WEIGHT_SCALE = "Get the model in a file whose scales are called weight_scale."
NO_WEIGHTS = ("input_scale", "scale_input", "output_scale", "scale_output")

Layer = Mapping[str, TensorInfo]


def scale_looks_like(weight: TensorInfo, scale: TensorInfo) -> str | None:
    """The format of int8 or fp8 codes [N, K] whose scale is none that is read, None if there is no such format."""
    short, (n, k) = SHORT.get(weight.dtype), weight.shape
    if short is None or 0 in (*weight.shape, *scale.shape):
        return None
    if scale.dtype in E8M0:
        return "mxfp8 without ComfyUI's marker" if weight.dtype == "float8_e4m3fn" and len(scale.shape) == 2 else None
    sizes = [size for size in scale.shape if size != 1]
    if scale.dtype not in FLOATS:
        return None
    blocks = {size: (math.ceil(n / size), math.ceil(k / size)) for size in BLOCKS}
    if len(sizes) == 1:
        flat = 1 not in blocks[BLOCK] and math.prod(blocks[BLOCK]) == sizes[0]
        return f"{short}-block{BLOCK}, in one row" if flat else _one_scale_for(short, sizes[0], n, k)
    if len(sizes) != 2:
        return None
    rows, columns = sizes
    for words, order in (("", (rows, columns)), (", turned", (columns, rows))):
        size = next((size for size, of in blocks.items() if of == order), None)
        if size:
            return f"{short}-block{size}{words}"
    for one, other, words in ((rows, columns, ""), (columns, rows, ", turned")):
        if one == n and k % other == 0:
            return f"{short} with groups of {k // other}{words}"
    if n % rows == 0 and k % columns == 0:
        return f"{short} with blocks of {n // rows} x {k // columns}"
    return None


def _one_scale_for(short: str, count: int, n: int, k: int) -> str | None:
    if count == k:
        return f"{short} with a scale per input channel"
    if k % count == 0:
        return f"{short} with groups of {k // count} for all rows"
    return f"{short} with a scale for {n // count} rows" if n % count == 0 else None


def scale_by_another_name(layer: Layer) -> str | None:
    """How the name of what may be the scale of a layer without one ends."""
    return next((end for end in layer if ("scale" in end or "scaling" in end) and end not in NO_WEIGHTS), None)


def codes_look_like(end: str, weight: TensorInfo, layer: Layer) -> str | None:
    """The format of a weight that is stored as no int8 and no fp8; `end`: of its name, `layer`: the layer's tensors by
    the end of theirs. None if unknown."""
    if weight.dtype == "float4_e2m1fn_x2" or layer.keys() & {"weight_global_scale", "weight_scale_2"}:
        return "nvfp4, and not LightX2V's or ComfyUI's"
    if len(weight.shape) != 2:
        return None
    if end == "qweight":
        return _gptq_or_awq(weight, layer)
    return _mx(weight, layer) or _int4(end, weight, layer)


def _mx(weight: TensorInfo, layer: Layer) -> str | None:
    scale = layer.get("weight_scale")
    if weight.dtype != "uint8" or scale is None or scale.dtype not in (*E8M0, "int32") or len(scale.shape) != 2:
        return None
    scales = scale.shape[1] * (4 if scale.dtype == "int32" else 1)
    found = PACKED_MX.get(weight.shape[1] // max(scales, 1))
    return found and f"{found} {OTHER_ORDER}"


def _gptq_or_awq(weight: TensorInfo, layer: Layer) -> str:
    scales, zeros = layer.get("scales"), layer.get("qzeros")
    n = scales.shape[1] if scales is not None and len(scales.shape) == 2 else 0
    if n and n == weight.shape[1] * CODES_PER_WORD:
        return f"AWQ, {_grouped(weight.shape[0], scales.shape[0])}"
    if not n or n != weight.shape[1]:
        return "packed int4 (GPTQ or AWQ)"
    if zeros is not None and len(zeros.shape) == 2 and zeros.shape[1] * CODES_PER_WORD != n:
        return f"GPTQ with {32 * zeros.shape[1] // n} bits"
    return _grouped(weight.shape[0] * CODES_PER_WORD, scales.shape[0])


def _int4(end: str, weight: TensorInfo, layer: Layer) -> str | None:
    """Codes of a row in bytes, or in int32 as compressed-tensors or Marlin have them."""
    scale = layer.get("weight_scale")
    if weight.dtype not in ("uint8", "int32"):
        return None
    if scale is not None and 2 <= len(scale.shape) == 2 + scale.shape[2:].count(1) and scale.dtype in FLOATS:
        (rows, columns), (n, packed) = scale.shape[:2], weight.shape
        if rows == n and columns > 1 and (weight.dtype == "uint8" or end == "weight_packed"):
            return _grouped(packed * (2 if weight.dtype == "uint8" else CODES_PER_WORD), columns)
        if weight.dtype == "int32" and end == "weight" and 2 * columns == packed:
            return _grouped(n * 16, rows)
    return "packed int4 (Marlin, GPTQ or AWQ)" if weight.dtype == "int32" else None


def _grouped(k: int, groups: int) -> str:
    size = math.ceil(k / max(groups, 1))
    return f"int4 with groups of {size}" if size != BLOCK else "int4 with groups of 128 in another layout"


def meaning(key: str) -> str | None:
    """What the tensor called `key` does to its layer, if its name is known."""
    return next((words for ends, words in MEANINGS.items() if key.endswith(ends)), None)
