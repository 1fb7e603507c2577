"""What a file's own marks of its formats can say and not be believed."""

import torch

from x2v_quant.core.features import rotates_int8

from .case import ErrorCase, file
from .quantized_layers import DAMAGED
from .wan import F8, LAYER, marker, wan, zeros

LATER = "Update this pack, or get the model in another format."
AGAIN = "Get the model in another file, or make one of the original with `x2v-quant convert --format int8-convrot`."
DAMAGED_MARKER = "The file is damaged: download it again."
FILE = "model.safetensors"


def marked(cause: str, remedy: str, entry) -> ErrorCase:
    return file(wan(comfy_quant=marker(entry)), f"{FILE}: {LAYER}.weight {cause}. {remedy}")


CASES = {
    "header": file(
        (wan(), {"_quantization_metadata": "{"}),
        f"{FILE}: _quantization_metadata is no JSON table of layers. {DAMAGED}",
    ),
    "no weight": file(
        {**wan(), "blocks.9.x.comfy_quant": marker({"format": "int8_tensorwise"})},
        f"{FILE}: blocks.9.x.comfy_quant marks a layer that has no weight. {DAMAGED}",
    ),
    "no table": marked("has a marker that is no JSON table", DAMAGED_MARKER, []),
    "4 bits in odd groups": marked(
        "is marked as convrot_w4a4 with groups of 100 and linear_dtype int4, not of 16, 64, 256 and int4 or int8",
        LATER,
        {"format": "convrot_w4a4", "convrot_groupsize": 100},
    ),
    "format": marked("is marked with the unknown format 'mxfp9'", LATER, {"format": "mxfp9"}),
    "entry": marked(
        "has a marker with the unknown entry 'zero_point'", LATER, {"format": "int8_tensorwise", "zero_point": 3}
    ),
    "groups": marked(
        "is marked as int8_tensorwise with groups of 64", LATER, {"format": "int8_tensorwise", "group_size": 64}
    ),
    "groups with zero points": marked(
        "is marked as awq_w4a16 with groups of 48, not of 32, 64, 128",
        LATER,
        {"format": "awq_w4a16", "group_size": 48},
    ),
    "another shape": marked(
        "is marked as [64, 48] (orig_shape), but its tensors make [128, 256]",
        DAMAGED,
        {"format": "int8_tensorwise", "orig_shape": [64, 48]},
    ),
    "type": marked("is int8 but marked as float8_e4m3fn", DAMAGED, {"format": "float8_e4m3fn"}),
    "scale": file(
        wan(
            None,
            weight=zeros(64, 256, dtype=F8),
            weight_scale=zeros(64, 8, dtype=torch.uint8),
            comfy_quant=marker({"format": "mxfp8"}),
        ),
        f"{FILE}: {LAYER}.weight_scale has shape [64, 8] and dtype uint8, its weight [64, 256] is marked as mxfp8.",
        DAMAGED,
    ),
    "codes": file(
        wan(
            None,
            weight=zeros(8, 96, dtype=torch.uint8),
            weight_scale=torch.ones(8, 1),
            comfy_quant=marker({"format": "nvfp4"}),
        ),
        f"{FILE}: {LAYER}.weight has a scale that does not go with it, marked as nvfp4. {DAMAGED}",
    ),
}
FOUR_BITS = {"format": "asym_w4a8_int8"}
AGAIN_IN_4 = AGAIN.replace("int8-convrot", "w4a8")


def four_bits(**changed):
    """A layer of w4a8."""
    layer = {
        "weight": zeros(8, 128, dtype=torch.int8),
        "weight_s_rel": torch.ones(8, 16).to(F8),
        "weight_s_channel": torch.full((8,), 0.001),
        "weight_codebook": torch.linspace(-1, 1, 16),
        "comfy_quant": marker(FOUR_BITS),
    }
    return wan(None, **{**layer, **changed})


CASES |= {
    "4 bits rotated": marked(
        "is rotated in groups of 1024 (convrot_groupsize), not of 16, 64, 256",
        AGAIN_IN_4,
        {**FOUR_BITS, "convrot_groupsize": 1024},
    ),
    "4 bits in groups": marked(
        "has scales for groups of 8 (group_size), not of a multiple of 16", AGAIN_IN_4, {**FOUR_BITS, "group_size": 8}
    ),
    "4 bits and a table of 8": file(
        four_bits(weight_codebook=torch.linspace(-1, 1, 8)),
        f"{FILE}: {LAYER}.weight does not go with the other tensors of its layer, marked as w4a8. {AGAIN_IN_4}",
    ),
    "4 bits and no level": file(
        four_bits(weight_codebook=torch.full((16,), torch.nan)),
        f"{FILE}: {LAYER}.weight_codebook has a level that is not a number. {DAMAGED_MARKER}",
    ),
    "4 bits and no scale": file(
        four_bits(weight_s_rel=torch.full((8, 16), 0xFF, dtype=torch.uint8)),
        f"{FILE}: {LAYER}.weight_s_rel has a scale that is negative or not a number. {DAMAGED_MARKER}",
    ),
    "4 bits and no row scale": file(
        four_bits(weight_s_channel=torch.full((8,), torch.nan)),
        f"{FILE}: {LAYER}.weight_s_channel has a scale that is negative or not a number. {DAMAGED_MARKER}",
    ),
}
CASES |= {
    "4 bits in rows of zero": file(
        four_bits(weight_s_channel=torch.zeros(8), weight=torch.full((8, 128), 0x33, dtype=torch.int8)),
        f"{FILE}: {LAYER}.weight_s_channel is zero for weights that are not zero: they would be lost. {DAMAGED_MARKER}",
    ),
    "4 bits and tiny levels": file(
        four_bits(weight_codebook=torch.full((16,), 1e-4)),
        f"{FILE}: {LAYER}.weight_codebook has levels up to 0.0001, of which no scale makes a weight. {DAMAGED_MARKER}",
    ),
    "4 bits by another name": file(
        four_bits(comfy_quant=marker({"format": "w4a8-64", "convrot_groupsize": 256})),
        f"{FILE}: {LAYER}.weight is marked as w4a8-64 with groups of 256 (convrot_groupsize). {AGAIN}",
    ),
    "not rotated": file(
        four_bits(comfy_quant=marker({"format": "w4a8-64", "convrot": False})),
        f"{FILE}: {LAYER}.weight is marked as w4a8-64 and as not rotated (convrot). {AGAIN}",
    ),
    "activations of another type": marked(
        "is marked as convrot-w4a4-64 with linear_dtype int8",
        LATER,
        {"format": "convrot-w4a4-64", "linear_dtype": "int8"},
    ),
}
ROTATED = {
    "4 bits and float32 scales of zero": file(
        four_bits(weight_s_rel=torch.zeros(8, 16), weight=torch.full((8, 128), 0x33, dtype=torch.int8)),
        f"{FILE}: {LAYER}.weight_s_rel is zero for weights that are not zero: they would be lost. {DAMAGED_MARKER}",
    ),
    "rotated fp8": marked(
        "is marked as float8_e4m3fn and as rotated (convrot), which only int8_tensorwise layers are",
        LATER,
        {"format": "float8_e4m3fn", "convrot": True},
    ),
    "rotated in groups": marked(
        "is rotated in groups of 100 (convrot_groupsize), not of 4, 16, 64, 256, 1024, 4096",
        AGAIN,
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 100},
    ),
    "rotated too wide": marked(
        "has 256 input channels, which groups of 1024 do not divide (convrot_groupsize)",
        AGAIN,
        {"format": "int8_tensorwise", "convrot": True, "convrot_groupsize": 1024},
    ),
    "rotated and smoothed in other groups": marked(
        "is marked as int8-convrot-64-smooth with groups of 16 (convrot_groupsize)",
        AGAIN,
        {"format": "int8-convrot-64-smooth", "convrot": True, "convrot_groupsize": 16},
    ),
}
TOO_OLD = marked(
    "is rotated (convrot), which this ComfyUI's comfy-kitchen cannot compute",
    "Update ComfyUI to 0.27 or newer, or get the model as int8 without rotation.",
    {"format": "int8_tensorwise", "convrot": True},
)
CASES |= ROTATED if rotates_int8() else {"rotated": TOO_OLD}
