"""Quantization Scheme: which kernels the loaders prefer."""

import comfy.model_management
import torch
from comfy_api.latest import io

from ..kernels.machine import describe
from ..schemes import AUTO, CLIP, DIT, T5, SchemeChoice, UnknownSchemeError, resolve
from ..schemes.offered import offered

CATEGORY = "X2V Quant"
SchemeType = io.Custom("X2V_SCHEME")


def _scheme_input(component: str, label: str, tooltip: str):
    machine = describe(torch.device(comfy.model_management.get_torch_device()))
    return io.Combo.Input(
        component, display_name=label, options=list(offered(component, machine)), default=AUTO, tooltip=tooltip
    )


class QuantizationScheme(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VScheme",
            display_name="Quantization Scheme",
            category=CATEGORY,
            description="How the quantized loaders compute. You seldom need it: without this node, or with everything "
            "on auto, they use the format of the file and the fastest method that this computer has.",
            search_aliases=["x2v", "lightx2v", "quant scheme", "mm_type", "fp8", "int8", "int4", "nvfp4", "mxfp8"],
            inputs=[
                _scheme_input(
                    DIT,
                    "diffusion model",
                    "Leave on auto. The others are for tests: those that can run here. Old graphs keep theirs.",
                ),
                _scheme_input(T5, "text encoder", "Leave on auto. The others are for tests."),
                _scheme_input(
                    CLIP,
                    "CLIP vision",
                    "Leave on auto. The others are for tests. Only Wan 2.1 picture to video uses it.",
                ),
                io.Combo.Input(
                    "compute_dtype",
                    display_name="precision while computing",
                    options=[AUTO, "bf16", "fp16", "fp32"],
                    default=AUTO,
                    tooltip="Leave on auto: bf16 if your GPU or CPU is fast with it. fp32 is slow, for tests.",
                ),
                io.Boolean.Input(
                    "strict",
                    display_name="strict",
                    default=False,
                    label_on="stop",
                    label_off="next best",
                    tooltip="If the kernel of the scheme cannot run here: use the next best, or stop with an error.",
                ),
                io.Boolean.Input(
                    "transcode",
                    display_name="transcode at load",
                    default=False,
                    tooltip="RTX 20 to 50: run fp8 files as int8, with a small quality loss. Also needed for a scheme "
                    "of another format.",
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
