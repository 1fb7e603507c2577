"""The three loaders, whose outputs are core's own MODEL, CLIP and CLIP_VISION."""

import folder_paths
from comfy_api.latest import io

from ..loading.clip_vision import load_clip_vision
from ..loading.dit import load_dit
from ..loading.t5 import load_t5
from ..runtime.offload.apply import offloaded, offloaded_encoder
from ..schemes import AUTO
from .files import fingerprint, model_names, model_path, tokenizer_names, tokenizer_path
from .missing import problem
from .offload import offload_input
from .on_node import error_on_node, forgets_error, show
from .scheme import CATEGORY, SchemeType

LOADERS = f"{CATEGORY}/loaders"
SCHEME_TOOLTIP = "Optional, from Quantization Scheme. Not connected: automatic, which is right for almost everybody."


def _scheme_input():
    return SchemeType.Input("scheme", optional=True, tooltip=SCHEME_TOOLTIP)


class LoadDiT(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadDiT",
            display_name="Load Quantized DiT (Diffusion Model)",
            category=LOADERS,
            description="Loads a quantized diffusion model, such as LightX2V's int8 and fp8 files for Wan, as an "
            "ordinary MODEL. Also 4 bits (w4a8, int4, awq-w4a16, nvfp4, mxfp4), mxfp6 and mxfp8.",
            search_aliases=[
                "lightx2v",
                "wan",
                "load diffusion model",
                "unet loader",
                "int8",
                "fp8",
                "int4",
                "w4a8",
                "nvfp4",
                "awq",
                "convrot",
                "quantized",
            ],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    display_name="model file",
                    options=model_names("diffusion_models"),
                    tooltip="A file in models/diffusion_models. A name that ends in / is a folder: one model in "
                    "several files.",
                ),
                _scheme_input(),
                offload_input(),
            ],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def validate_inputs(cls, model_name=None):
        return problem((model_path, "diffusion_models", model_name))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, model_name, scheme=None, offload=None):
        return fingerprint("diffusion_models", model_name)

    @classmethod
    @error_on_node
    def execute(cls, model_name, scheme=None, offload=None):
        model = load_dit(model_path("diffusion_models", model_name), scheme)
        show(model.model.x2v_plan.about)
        return io.NodeOutput(model if offload is None else offloaded(model, offload))


class LoadT5(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadT5",
            display_name="Load Quantized T5 (Text Encoder)",
            category=LOADERS,
            description="Loads Wan's quantized text encoder (LightX2V's umt5 in int8 or fp8) as an ordinary CLIP, "
            "which CLIP Text Encode takes.",
            search_aliases=["lightx2v", "umt5", "clip loader", "text encoder", "int8", "fp8", "quantized"],
            inputs=[
                io.Combo.Input(
                    "text_encoder_name",
                    display_name="text encoder file",
                    options=model_names("text_encoders"),
                    tooltip="A file in models/text_encoders, such as umt5_xxl_fp8_e4m3fn_scaled.safetensors.",
                ),
                io.Combo.Input(
                    "tokenizer",
                    options=[AUTO, *tokenizer_names()],
                    default=AUTO,
                    tooltip="Needed to read prompts. auto finds it. For LightX2V's .pth files save spiece.model in "
                    "models/text_encoders.",
                ),
                _scheme_input(),
                offload_input(),
            ],
            outputs=[io.Clip.Output()],
        )

    @classmethod
    def validate_inputs(cls, text_encoder_name=None, tokenizer=None):
        return problem((model_path, "text_encoders", text_encoder_name), (tokenizer_path, tokenizer))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, text_encoder_name, tokenizer, scheme=None, offload=None):
        return fingerprint("text_encoders", text_encoder_name)

    @classmethod
    @error_on_node
    def execute(cls, text_encoder_name, tokenizer, scheme=None, offload=None):
        clip = load_t5(
            model_path("text_encoders", text_encoder_name),
            scheme,
            tokenizer_path(tokenizer),
            folder_paths.get_folder_paths("embeddings"),
        )
        if offload is not None:
            offloaded_encoder(clip, offload.encoder("t5"))
        return io.NodeOutput(clip)


class LoadCLIPVision(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return io.Schema(
            node_id="X2VLoadCLIPVision",
            display_name="Load Quantized CLIP (Vision)",
            category=LOADERS,
            description="Loads Wan 2.1's quantized CLIP vision encoder (LightX2V's int8 or fp8) as an ordinary "
            "CLIP_VISION, for start pictures. It reads no prompts.",
            search_aliases=["lightx2v", "clip vision", "open-clip", "xlm-roberta", "int8", "fp8", "quantized"],
            inputs=[
                io.Combo.Input(
                    "clip_name",
                    display_name="CLIP vision file",
                    options=model_names("clip_vision"),
                    tooltip="A file in models/clip_vision. Only Wan 2.1 with a start picture needs it.",
                ),
                _scheme_input(),
                offload_input(),
            ],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def validate_inputs(cls, clip_name=None):
        return problem((model_path, "clip_vision", clip_name))

    @classmethod
    @forgets_error
    def fingerprint_inputs(cls, clip_name, scheme=None, offload=None):
        return fingerprint("clip_vision", clip_name)

    @classmethod
    @error_on_node
    def execute(cls, clip_name, scheme=None, offload=None):
        clip_vision = load_clip_vision(model_path("clip_vision", clip_name), scheme)
        if offload is not None:
            offloaded_encoder(clip_vision, offload.encoder("clip"))
        return io.NodeOutput(clip_vision)
