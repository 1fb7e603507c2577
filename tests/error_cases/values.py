"""Tensors whose values cannot be used: seen when the weights are read."""

import torch

from x2v_quant.checkpoints import silence

from .case import ErrorCase, file
from .wan import LAYER, made, marker, wan

AGAIN = "The file is damaged: download it again."


def held(kind: str, end: str, change, cause: str, remedy: str = AGAIN) -> ErrorCase:
    """change: overwrites the tensor whose name ends in `end`."""
    layer = made(kind)
    change(layer[end])
    return file(wan(None, **layer), f"model.safetensors: {LAYER}.{end} {cause}. {remedy}")


def zero_points(word: int) -> torch.Tensor:
    """Eight zero points again and again, for the layer of `made("int4-gptq")`."""
    return torch.full((2, 16), word, dtype=torch.int32)


E5M2 = torch.float8_e5m2
CASES = {
    "scales that got lost": file(
        wan(None, weight=torch.full((8, 16), 448.0).to(torch.float8_e4m3fn)),
        f"model.safetensors: {LAYER}.weight has no scale but needs one: its codes go up to 448. Without it",
    ),
    "e5m2": file(
        wan(None, weight=torch.full((8, 16), float("inf")).to(E5M2), weight_scale=torch.ones(1)),
        f"model.safetensors: {LAYER}.weight contains NaN or infinity. {AGAIN}",
    ),
    "bitsandbytes": file(
        wan(
            None,
            weight=torch.ones(8, 16, dtype=torch.int8),
            SCB=torch.ones(8),
            weight_format=torch.tensor(1, dtype=torch.uint8),
        ),
        f"model.safetensors: {LAYER}.weight_format says that the codes are in the order of a GPU's tensor cores. Save",
    ),
    "scale": held(
        "int8", "weight_scale", lambda t: t[3].fill_(float("nan")), "has a scale that is negative or not a number"
    ),
    "signed scale": held(
        "int4", "weight_scale", lambda t: t[3].fill_(float("inf")), "has a scale that is not a number"
    ),
    "one scale": held("nvfp4", "weight_global_scale", lambda t: t.fill_(0.0), "is 0, not a positive number"),
    "reciprocal": held(
        "fp8",
        "weight_scale",
        lambda t: t.fill_(4480.0),
        "is 4480 for most rows, which is far too large: it looks like the reciprocal of a scale",
        silence.MULTIPLIED,
    ),
    "scale of zero": held("fp8", "weight_scale", lambda t: t[3].zero_(), silence.CAUSE),
    "scale of zero of a convolution": file(
        {
            **wan(),
            "patch_embedding.weight": torch.ones(8, 16, 1, 2, 2).to(torch.float8_e4m3fn),
            "patch_embedding.weight_scale": torch.zeros(1),
        },
        f"model.safetensors: patch_embedding.weight_scale {silence.CAUSE}. {AGAIN}",
    ),
    "block scale": held(
        "mxfp8",
        "weight_scale",
        lambda t: t.view(torch.uint8)[5].fill_(0xFF),
        "has a scale that is not a number, or larger than any weight",
    ),
    "scale of a block": file(
        wan(
            None,
            weight=torch.zeros(8, 32, dtype=torch.uint8),
            weight_scale=torch.full((8, 2), 0xFF, dtype=torch.uint8),
            comfy_quant=marker({"format": "mxfp4"}),
        ),
        f"model.safetensors: {LAYER}.weight_scale has a scale that is not a number, or larger than any weight. {AGAIN}",
    ),
    "shape": held(
        "int4-compressed", "weight_shape", lambda t: t.copy_(t.flip(0)), "says [256, 128], the codes make [128, 256]"
    ),
    "zero points": held(
        "int4-gptq",
        "qzeros",
        lambda t: t.index_fill_(0, torch.tensor(1), 0x77777776),
        "is symmetric at its beginning and has zero points other than 8 (asymmetric int4) behind it",
        AGAIN,
    ),
    "zero points of two versions": file(
        wan(None, **{**made("int4-gptq"), "qzeros": zero_points(0x78787878)}),
        f"model.safetensors: {LAYER}.qzeros does not tell whether zero points are stored minus one (GPTQ version 1): ",
        "Put a quantize_config.json beside the file that says checkpoint_format gptq (version 1) or gptq_v2, or get",
    ),
    "zero points of another version": file(
        (wan(None, **{**made("int4-gptq"), "qzeros": zero_points(0x78987898)}), {"checkpoint_format": "gptq"}),
        f"model.safetensors: {LAYER}.qzeros has zero points of gptq_v2, though its metadata says gptq",
        "(checkpoint_format). Correct that entry, or get the model in another format.",
    ),
    "order": held(
        "int4-gptq",
        "g_idx",
        lambda t: t.copy_(t.flip(0)),
        "reorders the input channels (act-order, desc_act)",
        "Get a file that was made without it.",
    ),
}
