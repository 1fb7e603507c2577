"""mxfp8 and nvfp4: a scale per 32 or 16 input channels in the tensor cores' order. The layouts are core's own, so that
core reads, patches and saves them: comfy.quant_ops registers its classes under the names that comfy_kitchen gave to its
own."""

from .format import SCALED, Format

FORMATS = (
    Format("mxfp8", "TensorCoreMXFP8Layout", SCALED, "mxfp8", "mxfp8", "mxfp8"),
    Format("nvfp4", "TensorCoreNVFP4Layout", (*SCALED, "block_scale"), "nvfp4", "nvfp4", "nvfp4"),
)
