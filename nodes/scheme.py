"""Quantization Scheme: which kernels the loaders prefer."""

from comfy_api.latest import io

from ..schemes import AUTO, CLIP, DIT, T5, SchemeChoice, UnknownSchemeError, names, resolve

CATEGORY = "X2V Quant"
SchemeType = io.Custom("X2V_SCHEME")


class QuantizationScheme(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VScheme",
            display_name="Quantization Scheme",
            category=CATEGORY,
            description="Which kernels the quantized loaders prefer. 'auto' takes the format from the file and the "
            "fastest kernel that this machine has.",
            search_aliases=["x2v", "lightx2v", "quant scheme", "mm_type", "fp8", "int8", "int4", "nvfp4", "mxfp8"],
            inputs=[
                io.Combo.Input("dit", options=names(DIT), default=AUTO, tooltip="Scheme of the diffusion model."),
                io.Combo.Input("t5", options=names(T5), default=AUTO, tooltip="Scheme of the umt5 text encoder."),
                io.Combo.Input("clip", options=names(CLIP), default=AUTO, tooltip="Scheme of the CLIP vision encoder."),
                io.Combo.Input(
                    "compute_dtype",
                    options=[AUTO, "bf16", "fp16", "fp32"],
                    default=AUTO,
                    tooltip="Type of the activations between layers. 'auto' is bf16 where the hardware has it.",
                ),
                io.Boolean.Input(
                    "strict",
                    default=False,
                    label_on="error",
                    label_off="fall back",
                    tooltip="If the scheme's own kernel cannot run here: an error, or the next best kernel.",
                ),
                io.Boolean.Input(
                    "transcode",
                    default=False,
                    tooltip="Convert the weights at load if the scheme is for another format than the file's, and with "
                    "'auto' where this machine multiplies int8 but not fp8. The report states the cost in accuracy.",
                ),
            ],
            outputs=[SchemeType.Output(display_name="scheme")],
        )

    @classmethod
    def validate_inputs(cls, dit, t5, clip):
        """Accepts aliases and old mm_type names too: core does not check inputs that this method takes. A value is None
        if the input has a link."""
        for name, component in ((dit, DIT), (t5, T5), (clip, CLIP)):
            try:
                resolve(AUTO if name is None else name, component)
            except UnknownSchemeError as error:
                return f"{component}: {error}"
        return True

    @classmethod
    def execute(cls, dit, t5, clip, compute_dtype, strict, transcode):
        return io.NodeOutput(SchemeChoice(dit, t5, clip, compute_dtype, strict, transcode))
