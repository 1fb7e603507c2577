"""Layers that look quantized and are not read: what is missing or odd about them, told by the header."""

import torch

from x2v_quant.checkpoints.foreign import OTHER_NAME, WEIGHT_SCALE

from .case import ErrorCase, file
from .wan import F8, LAYER, N, marker, words, zeros
from .wan import wan as wan_of

DAMAGED = "The file is damaged or mixed from two models: download it again."
READ = "This version reads awq-w4a16, convrot-w4a4, fp8-block128,"


def layer(end: str, cause: str, remedy: str, kind: str | None = "int8", **change) -> ErrorCase:
    return file(wan_of(kind, **change), f"model.safetensors: {LAYER}.{end} {cause}. {remedy}")


def small(end: str, cause: str, remedy: str, **change) -> ErrorCase:
    """Of a layer of 8 x 16 codes."""
    sound = {"weight": zeros(8, 16, dtype=torch.int8), "weight_scale": torch.ones(8, 1)}
    return layer(end, cause, remedy, None, **{**sound, **change})


CASES = {
    "no scale": layer("weight", "has no scale", "Without scales the model gives noise: download", weight_scale=None),
    "misspelt scale": layer(
        "weight",
        f"has no scale (the nearest name in the file is {LAYER}.weight_scal)",
        f"Without it the layer gives noise. {DAMAGED}",
        weight_scale=None,
        weight_scal=torch.ones(N, 1),
    ),
    "a scale by another name": small("scale", OTHER_NAME, WEIGHT_SCALE, weight_scale=None, scale=torch.ones(8, 1)),
    "blocks in one row": layer(
        "weight_scale",
        "has shape [4] and dtype float32: the layer looks like fp8-block128, in one row",
        READ,
        None,
        weight=zeros(256, 256, dtype=F8),
        weight_scale=torch.ones(4),
    ),
    "no zeros": layer("qweight", "has no qzeros, which int4-g128 layers have", DAMAGED, "int4-gptq", qzeros=None),
    "two input scales": layer(
        "scale_input", f"is a second scale beside {LAYER}.input_scale", DAMAGED, "fp8-tensor", scale_input=torch.ones(1)
    ),
    "input scales": layer(
        "input_scale",
        "has shape [3] and dtype float32, not that of an input scale",
        DAMAGED,
        "fp8-tensor",
        input_scale=torch.ones(3),
    ),
    "two scales": small(
        "scale_weight", f"is a second scale beside {LAYER}.weight_scale", DAMAGED, scale_weight=torch.ones(8, 1)
    ),
    "empty": layer(
        "weight_scale",
        "has a weight of shape [0, 16], which is empty",
        DAMAGED,
        None,
        weight=zeros(0, 16, dtype=F8),
        weight_scale=zeros(0, 1),
    ),
    "groups of int8": small(
        "weight_scale",
        "has shape [8, 4] and dtype float32: the layer looks like int8 with groups of 4",
        READ,
        weight_scale=torch.ones(8, 4),
    ),
    "turned groups": small(
        "weight_scale",
        "has shape [4, 8] and dtype float32: the layer looks like int8 with groups of 4, turned",
        READ,
        weight_scale=torch.ones(4, 8),
    ),
    "blocks": small(
        "weight_scale",
        "has shape [4, 4] and dtype float32: the layer looks like int8 with blocks of 2 x 4",
        READ,
        weight_scale=torch.ones(4, 4),
    ),
    "columns": small(
        "weight_scale",
        "has shape [16] and dtype float32: the layer looks like int8 with a scale per input channel",
        READ,
        weight_scale=torch.ones(16),
    ),
    "groups for all rows": small(
        "weight_scale",
        "has shape [1, 4] and dtype float32: the layer looks like int8 with groups of 4 for all rows",
        READ,
        weight_scale=torch.ones(1, 4),
    ),
    "rows together": layer(
        "weight_scale",
        "has shape [3, 1] and dtype float32: the layer looks like int8 with a scale for 3 rows",
        READ,
        None,
        weight=zeros(9, 16, dtype=torch.int8),
        weight_scale=torch.ones(3, 1),
    ),
    "marked, in groups": small(
        "weight_scale",
        "has shape [8, 4] and dtype float32, its weight [8, 16] is marked as int8_tensorwise, but looks like int8 "
        "with groups of 4",
        READ,
        weight_scale=torch.ones(8, 4),
        comfy_quant=marker({"format": "int8_tensorwise"}),
    ),
    "too narrow": layer(
        "weight",
        "may be mxfp4 or mxfp8: so narrow a layer has the same tensors in each, and nothing in the file tells",
        "Get the model in a file that marks its layers, as ComfyUI's do.",
        None,
        weight=zeros(N, 64, dtype=torch.uint8),
        weight_scale=zeros(128, 4, dtype=torch.uint8),
    ),
    "mxfp8 without a marker": layer(
        "weight_scale",
        "has shape [128, 8] and dtype uint8: the layer looks like mxfp8 without ComfyUI's marker",
        READ,
        None,
        weight=zeros(N, 256, dtype=F8),
        weight_scale=zeros(N, 8, dtype=torch.uint8),
    ),
    "scale of codes": small(
        "weight_scale",
        "has dtype int8, not a float type",
        READ,
        weight_scale=torch.ones(8, 1, dtype=torch.int8),
    ),
    "short scale": small(
        "weight_scale",
        "has shape [7, 1], its weight has 8 rows and wants [8, 1]",
        DAMAGED,
        weight_scale=torch.ones(7, 1),
    ),
    "zero points": layer(
        "weight_packed",
        "has dtype int32: the layer looks like asymmetric int4 (with zero points)",
        READ,
        "int4-compressed",
        weight_scale=zeros(N, 4),
        weight_zero_point=words(16, 2),
    ),
    "groups of int4": layer(
        "weight_packed",
        "has dtype int32: the layer looks like int4 with groups of 64",
        READ,
        "int4-compressed",
        weight_scale=zeros(N, 4),
    ),
    "groups of 128 elsewhere": layer(
        "qweight",
        "has dtype int32: the layer looks like int4 with groups of 128 in another layout",
        READ,
        None,
        qweight=words(32, 128),
        scales=zeros(2, 128),
        qzeros=words(3, 16),
    ),
    "awq": layer(
        "qweight",
        "has dtype int32: the layer looks like AWQ, int4 with groups of 16",
        READ,
        None,
        qweight=words(256, 16),
        scales=zeros(16, 128),
        qzeros=words(16, 16),
    ),
    "gptq of 8 bits": layer(
        "qweight",
        "has dtype int32: the layer looks like GPTQ with 8 bits",
        READ,
        None,
        qweight=words(64, 128),
        scales=zeros(2, 128),
        qzeros=words(2, 32),
    ),
    "only codes": layer(
        "qweight",
        "has dtype int32: the layer looks like packed int4 (GPTQ or AWQ)",
        READ,
        None,
        qweight=words(32, 128),
    ),
    "packed": small(
        "weight",
        "has dtype int32: the layer looks like packed int4 (Marlin, GPTQ or AWQ)",
        READ,
        weight=torch.ones(8, 4, dtype=torch.int32),
    ),
    "another nvfp4": layer(
        "weight_packed",
        "has dtype uint8: the layer looks like nvfp4, and not LightX2V's or ComfyUI's",
        READ,
        None,
        weight_packed=zeros(N, 128, dtype=torch.uint8),
        weight_scale=zeros(N, 16, dtype=F8),
        weight_global_scale=zeros(1),
    ),
    "no linear layer": small(
        "weight",
        "is int8 of shape [8, 4, 4], which is not the weight of a linear layer",
        READ,
        weight=zeros(8, 4, 4, dtype=torch.int8),
        weight_scale=torch.ones(3),
    ),
    "unknown type": small(
        "weight",
        "has dtype uint8, which is not known here",
        READ,
        weight=zeros(8, 96, dtype=torch.uint8),
        weight_scale=None,
    ),
    "bias of integers": small(
        "bias",
        "has dtype int16, which no unquantized weight, norm or bias has",
        DAMAGED,
        bias=torch.ones(8, dtype=torch.int16),
    ),
    "plain weight": small(
        "weight_scale", "is a scale, but its weight is not quantized (float32)", DAMAGED, weight=torch.ones(8, 16)
    ),
    "no weight": small("weight_scale", "is a scale without a weight", DAMAGED, weight=None),
    "zero point": small(
        "weight_zero_point",
        "has zero points (asymmetric quantization)",
        READ,
        weight_zero_point=torch.ones(8),
    ),
    "smoothing of another width": small(
        "smooth_factor",
        "smooths the activations of its layer",
        READ,
        smooth_factor=torch.ones(16),
    ),
    "svdquant": small("svd_up", "is a low-rank correction (SVDQuant)", READ, svd_up=torch.ones(8)),
    "unknown part": small(
        "weight_global_scale",
        "is part of a quantized layer in a format that is not known here",
        READ,
        weight_global_scale=torch.ones(()),
    ),
}
