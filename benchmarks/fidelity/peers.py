"""The formats that users have without this pack, as data."""

import dataclasses
from dataclasses import dataclass, field

# what a rotation's groups are at most, each four times the one before: the widest that divides K is taken
WIDEST_ROTATION = 256


@dataclass(frozen=True)
class CoreFormat:
    """`marker`: the format's name in a layer's `comfy_quant`; `layout`: core's layout; `options`: of its quantizer;
    `settings`: what the marker says beside the name; `rotated`: both have the size of the rotation's groups too."""

    marker: str
    layout: str
    options: dict = field(default_factory=dict)
    settings: dict = field(default_factory=dict)
    rotated: bool = False

    def group(self, columns: int) -> dict:
        """The size of the groups of a weight of so many columns, as quantizer and marker call it."""
        size = WIDEST_ROTATION
        while columns % size:
            size //= 4
        return {"convrot_groupsize": size} if self.rotated else {}


@dataclass(frozen=True)
class GgufFormat:
    """`type`: a name in gguf.GGMLQuantizationType; `importance`: whether the quantizer gets an imatrix."""

    type: str
    importance: bool = False

    @property
    def needs_ggml(self) -> bool:
        """Whether the package gguf cannot write it."""
        return self.importance or self.type.endswith("_K")


CORE_FORMATS = {
    # without an input scale, as ModelSave writes it: core does not measure activations
    "ComfyUI fp8 per-tensor": CoreFormat("float8_e4m3fn", "TensorCoreFP8E4M3Layout", {"scale": "recalculate"}),
    "ComfyUI int8_tensorwise": CoreFormat("int8_tensorwise", "TensorWiseINT8Layout"),
    "ComfyUI int8_tensorwise, row scales": CoreFormat("int8_tensorwise", "TensorWiseINT8Layout", {"per_channel": True}),
    "ComfyUI int8 ConvRot": CoreFormat(
        "int8_tensorwise",
        "TensorWiseINT8Layout",
        {"per_channel": True, "convrot": True},
        {"convrot": True},
        rotated=True,
    ),
    "ComfyUI mxfp8": CoreFormat("mxfp8", "TensorCoreMXFP8Layout"),
    "ComfyUI nvfp4": CoreFormat("nvfp4", "TensorCoreNVFP4Layout"),
    "ComfyUI w4a8": CoreFormat("asym_w4a8_int8", "AsymW4A8Int8Layout", settings={"group_size": 16}, rotated=True),
    "ComfyUI ConvRot w4a4": CoreFormat("convrot_w4a4", "TensorCoreConvRotW4A4Layout", rotated=True),
}
GGUF_FORMATS = {
    "ComfyUI-GGUF Q8_0": GgufFormat("Q8_0"),
    "ComfyUI-GGUF Q6_K": GgufFormat("Q6_K"),
    "ComfyUI-GGUF Q5_K": GgufFormat("Q5_K"),
    "ComfyUI-GGUF Q5_K, imatrix": GgufFormat("Q5_K", importance=True),
    "ComfyUI-GGUF Q4_K": GgufFormat("Q4_K"),
    "ComfyUI-GGUF Q4_K, imatrix": GgufFormat("Q4_K", importance=True),
    "ComfyUI-GGUF Q4_0": GgufFormat("Q4_0"),
}


def readable(row: CoreFormat) -> bool:
    """Whether this ComfyUI loads it: it has the format, and a layout with what the row sets."""
    import comfy.quant_ops
    from comfy_kitchen.tensor import get_layout_class

    if row.marker not in comfy.quant_ops.QUANT_ALGOS:
        return False
    known = {field.name for field in dataclasses.fields(get_layout_class(row.layout).Params)}
    return {*row.settings, *row.group(WIDEST_ROTATION)} <= known
