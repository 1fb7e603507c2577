"""Models that a dialect or a package has no place for, and places that cannot be written."""

import torch

from .calibrations import HEADER, LOAD, MAXIMA
from .case import ErrorCase, Prompt, node
from .graphs import behind, dense
from .loras import LAYER, pair
from .models import flux, gated_flux
from .place import Place, demo
from .wan import marker

SAVE, SAVE_CLIP = "X2VSaveModel", "X2VSaveCLIP"
LONG = "x" * 240
OUTLIER = "blocks.0.cross_attn.o"


def saved(prompt: Prompt, *words: str, linux: bool = False, **inputs) -> ErrorCase:
    """Save Quantized Model behind the node "behind" of a prompt that a function of the place makes."""

    def make(place: Place):
        made = prompt(place) if callable(prompt) else prompt
        given = {"filename_prefix": f"errors/{place.name}", "dialect": "x2v", "package": "file", **inputs}
        return {**made, "save": node(SAVE, model=["behind", 0], **given)}

    return ErrorCase(SAVE, make, words, linux=linux)


def quantized(format_name: str = "int8-channel", **inputs) -> Prompt:
    return behind(dense(), "X2VQuantizeModel", format=format_name, **inputs)


def smoothed_alone(place: Place) -> Prompt:
    """By a calibration of a layer that no norm feeds, with an outlier that makes smoothing worth while."""
    maxima = torch.full((128,), 0.01)
    maxima[5] = 100.0
    name = place.input(f"calibration/{place.name}.safetensors", ({f"{OUTLIER}{MAXIMA}": maxima}, HEADER))
    prompt = quantized(calibration=["calibration", 0], smoothing="alpha", alpha=0.5)
    return {"calibration": node(LOAD, calibration_name=name), **prompt}


def cores_own(place: Place) -> Prompt:
    """In fp8 e5m2, which ComfyUI reads and no file of ours has."""

    def change(tensors) -> None:
        tensors[f"{OUTLIER}.weight"] = tensors[f"{OUTLIER}.weight"].to(torch.float8_e5m2)
        tensors[f"{OUTLIER}.weight_scale"] = torch.tensor(1.0)
        tensors[f"{OUTLIER}.comfy_quant"] = marker({"format": "float8_e5m2"})

    name = place.put("diffusion_models", "e5m2.safetensors", demo("t2v", change, "bf16"))
    return behind(dense(name), "ModelSamplingSD3", shift=5.0)


def uneven(place: Place) -> Prompt:
    return behind(dense(place.put("diffusion_models", "gated.safetensors", gated_flux)), "ModelSamplingSD3", shift=5.0)


def without_blocks(place: Place) -> Prompt:
    return behind(dense(place.put("diffusion_models", "flux.safetensors", flux)), "ModelSamplingSD3", shift=5.0)


def encoders(dialect: str, *words: str, two: bool = False) -> ErrorCase:
    """Save Quantized CLIP behind Quantize CLIP, with encoders that no file of its dialect is read of."""
    prompt = {
        "encoders": node("SmallEncoders", two=two),
        "quantized": node("X2VQuantizeCLIP", clip=["encoders", 0], format="int8-channel"),
        "save": node(SAVE_CLIP, clip=["quantized", 0], filename_prefix="errors/clip", dialect=dialect),
    }
    return ErrorCase(SAVE_CLIP, lambda place: prompt, words)


def with_nan(place: Place) -> Prompt:
    def change(tensors) -> None:
        tensors["blocks.0.norm3.weight"][1] = float("nan")

    name = place.put("diffusion_models", "nan.safetensors", demo("t2v", change, "bf16"))
    return behind(dense(name), "ModelSamplingSD3", shift=5.0)


CASES = {
    "no number": saved(
        with_nan, "blocks.0.norm3.weight contains NaN. The model is damaged: download it again, or merge"
    ),
    "format": saved(
        quantized("fp8-channel"),
        "Layer blocks.0.",
        "is fp8-channel, which files for comfyui do not have. Set load with (dialect) to x2v, or quantize it to one of",
        dialect="comfyui",
    ),
    "smoothing": saved(
        smoothed_alone,
        f"Layer {OUTLIER} is smoothed by itself; files for lightx2v have one factor for all layers after a norm.",
        "Set load with (dialect) to x2v, or smoothing to lightx2v in Quantize Model.",
        dialect="lightx2v",
    ),
    "parts": saved(
        uneven,
        "single_blocks.0.linear1.weight has shape [2816, 256], which is not the 7 equal parts that LightX2V has of it.",
        "Set load with (dialect) to x2v or comfyui.",
        dialect="lightx2v",
    ),
    "blocks": saved(
        without_blocks,
        "The model has no blocks (blocks.0, blocks.1, ...): write one file or shards instead.",
        package="blocks",
    ),
    "a long name": saved(
        quantized(),
        f"'{LONG}_00001_.safetensors' is not a name for a file: it is 259 bytes long, and disks take 255.",
        filename_prefix=f"errors/{LONG}",
    ),
    **{
        f"a name: {prefix!r}": saved(
            quantized(), f" is not a name for a file: {cause}. Choose another one.", filename_prefix=prefix
        )
        for prefix, cause in (
            ("errors/AUX/model", "Windows has a device called AUX"),
            ("errors/a:b", "Windows does not allow : in names"),
            ("errors/end./model", "Windows drops the dot or space at its end"),
            ("errors/a\nb", "it has a control character"),
        )
    },
    "ComfyUI's own format": saved(
        cores_own,
        f"Layer {OUTLIER} is float8_e5m2, which no file of this pack has. Use ComfyUI's ModelSave or CLIPSave.",
    ),
    "two encoders": encoders(
        "x2v",
        "This CLIP has 2 text encoders (clip_l, t5xxl), but a file can have only one. Load the one to save by",
        two=True,
    ),
    "another encoder": encoders(
        "x2v",
        "clip_l is no umt5, the only text encoder that files for x2v can have. Set load with (dialect) to comfyui.",
    ),
    "another encoder for ComfyUI": encoders(
        "comfyui",
        "ComfyUI reads no quantized clip_l, only T5 XXL and language models. Save it before it is quantized, with",
    ),
    "dora beside a weight": saved(
        lambda place: behind(
            dense(),
            "LoraLoaderBypassModelOnly",
            lora_name=place.put("loras", "dora.safetensors", {**pair(), f"{LAYER}.dora_scale": torch.ones(512, 1)}),
            strength_model=1.0,
        ),
        "blocks.0.ffn.0 has a bypass LoRA (lora, or DoRA) that cannot be saved in the weight. Load it with Load LoRA ",
    ),
}
