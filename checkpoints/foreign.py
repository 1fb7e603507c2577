"""Quantized layers that this version does not read: what they look like, so that the refusal can name it."""

import math

from .tensor_info import TensorInfo

WHAT_IS_READ = "This version reads fp8-channel and int8-channel (one scale per row): get the model in one of them."

BLOCK = 128
SHORT = {"float8_e4m3fn": "fp8", "int8": "int8"}
E8M0 = ("float8_e8m0fnu", "uint8")
# bytes of packed codes per scale of 32 values -> format
PACKED_MX = {16: "mxfp4", 24: "mxfp6"}


def scale_looks_like(weight: TensorInfo, scale: TensorInfo) -> str | None:
    """The format of codes [N, K] whose scale is not one per row, None if there is no such format."""
    n, k = weight.shape
    if len(scale.shape) != 2:
        return None
    rows, columns = scale.shape
    if scale.dtype in E8M0:
        return "mxfp8" if weight.dtype == "float8_e4m3fn" else None
    if (rows, columns) == (math.ceil(n / BLOCK), math.ceil(k / BLOCK)):
        return f"{SHORT[weight.dtype]}-block{BLOCK}"
    if rows == n and columns > 1 and k % columns == 0:
        return f"{SHORT[weight.dtype]} with groups of {k // columns}"
    return None


def dtype_looks_like(dtype: str, weight: TensorInfo, siblings: dict[str, TensorInfo]) -> str | None:
    """The format of a weight that is stored as `dtype`; `siblings`: the layer's other tensors by the end of their
    name. None if unknown."""
    scale = siblings.get("weight_scale")
    if dtype == "float8_e5m2":
        return "fp8 e5m2"
    if dtype == "int32":
        return "packed int4 (Marlin, GPTQ or AWQ)"
    if dtype == "float4_e2m1fn_x2" or siblings.keys() & {"weight_global_scale", "weight_scale_2"}:
        return "nvfp4"
    if dtype == "uint8" and scale is not None and scale.dtype in E8M0 and len(scale.shape) == len(weight.shape) == 2:
        return PACKED_MX.get(weight.shape[1] // max(scale.shape[1], 1))
    return None
