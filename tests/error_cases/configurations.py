"""LightX2V's configurations that cannot be read, or whose files are not where they say."""

import json

from x2v_quant.demo import assets

from .case import ErrorCase, Prompt, node
from .place import Place, demo

NODE = "X2VLoadConfig"
NAME = "The pasted configuration"
NO_FOLDER = "none: ComfyUI's folders"
INT8, FP8 = assets.names("int8"), assets.names("fp8")
LOADABLE = {"dit_quantized": True, "dit_quantized_ckpt": INT8.t2v}


def config(**inputs) -> Prompt:
    given = {"config": "text below", "model_folder": NO_FOLDER, "text_encoder": False, "vision_encoder": False}
    return {
        "load": node(NODE, **{**given, "text": "", **inputs}),
        "report": node("PreviewAny", source=["load", 6]),
    }


def configured(values, *words: str, files: dict | None = None, folder: bool = False, **inputs) -> ErrorCase:
    """A pasted configuration. files: in the case's own place; folder: which is the model folder then."""

    def make(place: Place) -> Prompt:
        for name, content in (files or {}).items():
            place.put("diffusion_models", name, content)
        more = {"model_folder": place.named("")} if folder else {}
        return config(text=values if isinstance(values, str) else json.dumps(values), **more, **inputs)

    return ErrorCase(NODE, make, words)


def key(name: str, cause: str, remedy: str) -> str:
    return f"{NAME}: {name} {cause}. {remedy}"


CASES = {
    "json": configured("{", f"{NAME} is no JSON", "Copy the whole file from { to }."),
    "table": configured("[1]", f"{NAME} has no table of settings ({{...}}). Pick a LightX2V configuration."),
    "kind": configured(
        {"dit_quantized": "yes"}, key("dit_quantized", 'is "yes", not true or false', "Correct it or leave it out.")
    ),
    "mm_config": configured({"mm_config": {}}, key("mm_config", "names no mm_type", "Write dit_quant_scheme instead.")),
    "no model": configured("{}", key("dit_original_ckpt", "is missing", "Pick the model folder, or name the file.")),
    "several": configured(
        {"dit_quantized": True},
        f"{NAME}: dit_quantized_ckpt is missing, and ",
        "has several models: a.safetensors, b.safetensors. Name one there.",
        files={"a.safetensors": demo("t2v"), "b.safetensors": demo("t2v")},
        folder=True,
    ),
    "another format": configured(
        {"dit_quantized": True, "dit_quant_scheme": "int8-vllm"},
        f"{NAME}: no int8-vllm diffusion model in ",
        "There is a.safetensors (fp8-channel): change dit_quant_scheme to fit, or download the other.",
        files={"a.safetensors": demo("t2v", kind="fp8")},
        folder=True,
    ),
    "no diffusion model": configured(
        {"dit_quantized": True, "dit_quant_scheme": "int8-vllm"},
        f"{NAME}: no int8-vllm diffusion model in ",
        "Download it there, or name it with dit_quantized_ckpt.",
        files={"vae.safetensors": demo("vae")},
        folder=True,
    ),
    "folder of two": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": "two"},
        f"{NAME}: dit_quantized_ckpt names the folder two/, which should have one model: a.safetensors, b.safetensors.",
        "Name the file.",
        files={"two/a.safetensors": demo("t2v"), "two/b.safetensors": demo("t2v")},
    ),
    "not quantized": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": assets.names(assets.ORIGINAL).t2v},
        key(
            "dit_quantized",
            f"is true, but {assets.names(assets.ORIGINAL).t2v} is not quantized",
            "Take its int8 or fp8 file, or set it to false.",
        ),
    ),
    "no text encoder": configured(
        {**LOADABLE, "t5_quantized": True, "t5_quant_scheme": "fp8-vllm"},
        f"{NAME}: no quantized text encoder in ComfyUI's text_encoders folder. Download models_t5_umt5-xxl-enc-",
        "name its file with t5_quantized_ckpt, or switch its loading off here.",
        text_encoder=True,
    ),
    "offload": configured(
        {**LOADABLE, "cpu_offload": True, "offload_granularity": "layer"},
        key("offload_granularity", "is 'layer'", "LightX2V knows block, phase, model."),
    ),
    "no name": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": ".."},
        key("dit_quantized_ckpt", "is '..', which names no file", "Correct it or leave it out."),
    ),
    "a deep path": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": "a/" * 20_000},
        key("dit_quantized_ckpt", "is a path of 20000 parts, and no more than 64 are looked for", "Write the last few"),
    ),
    "twice": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": "twice.safetensors"},
        f"{NAME}: dit_quantized_ckpt names twice.safetensors, of which there are 2 in ComfyUI's diffusion_models",
        "Write more of its path.",
        files={"x/twice.safetensors": demo("t2v"), "y/twice.safetensors": demo("t2v")},
    ),
    "nowhere": configured(
        {"dit_original_ckpt": "nowhere.safetensors"},
        key(
            "dit_original_ckpt",
            "names nowhere.safetensors, which is not in ComfyUI's diffusion_models folder",
            "Put it there, or remove the key.",
        ),
    ),
    "too long": configured(
        {"dit_quantized": True, "dit_quantized_ckpt": f"{'x' * 300}.safetensors"},
        f"{NAME}: dit_quantized_ckpt names xxx",
        "x.safetensors, which is not in ComfyUI's diffusion_models folder. Put it there, or remove the key.",
    ),
    "steps": configured(
        {**LOADABLE, "denoising_step_list": [1000, 0]},
        key("denoising_step_list", "is [1000, 0]", "It has training steps from 1000 down."),
    ),
}
