"""The formats that users have without this pack, as data."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CoreFormat:
    """`marker`: the format's name in a layer's `comfy_quant`; `layout`: core's layout; `options`: of its quantizer."""

    marker: str
    layout: str
    options: dict = field(default_factory=dict)


CORE_FORMATS = {
    # without an input scale, as ModelSave writes it: core does not measure activations
    "ComfyUI fp8 per-tensor": CoreFormat("float8_e4m3fn", "TensorCoreFP8E4M3Layout", {"scale": "recalculate"}),
    "ComfyUI int8_tensorwise": CoreFormat("int8_tensorwise", "TensorWiseINT8Layout"),
    "ComfyUI int8_tensorwise, row scales": CoreFormat("int8_tensorwise", "TensorWiseINT8Layout", {"per_channel": True}),
    "ComfyUI mxfp8": CoreFormat("mxfp8", "TensorCoreMXFP8Layout"),
    "ComfyUI nvfp4": CoreFormat("nvfp4", "TensorCoreNVFP4Layout"),
}
# row -> its name in gguf.GGMLQuantizationType
GGUF_TYPES = {"ComfyUI-GGUF Q8_0": "Q8_0", "ComfyUI-GGUF Q4_0": "Q4_0"}
