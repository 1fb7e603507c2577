"""mxfp8 and nvfp4: a scale per 32 or 16 input channels in the tensor cores' order. The layouts are core's own, so that
core reads, patches and saves them: comfy.quant_ops registers its classes under the names that comfy_kitchen gave to its
own."""

from .format import SCALED, Format

NVFP4 = (*SCALED, "block_scale")
# other sizes are padded, and a file does not say how far: it would not be read back as the layer it was
FORMATS = (
    Format("mxfp8", "TensorCoreMXFP8Layout", SCALED, "mxfp8", "mxfp8", "mxfp8", multiples=(32, 32)),
    Format("nvfp4", "TensorCoreNVFP4Layout", NVFP4, "nvfp4", "nvfp4", "nvfp4", multiples=(16, 16)),
)
