"""Models that Quantize Model has nothing to quantize in, or whose weights are no numbers."""

import torch

from x2v_quant.calibration.calibration import MAXIMA
from x2v_quant.calibration.files import FORMAT

from .case import ErrorCase, node, scheme
from .graphs import behind, dense
from .place import Place, demo

NODE = "X2VQuantizeModel"
LAYER = "blocks.0.ffn.0"


def nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors[f"{LAYER}.weight"][3, 5] = float("nan")


def broken(place: Place):
    return behind(
        dense(place.put("diffusion_models", "model.safetensors", demo("t2v", nan, "bf16"))), NODE, format="auto"
    )


def with_lora(place: Place):
    tensors = {f"diffusion_model.{LAYER}.diff": torch.full((512, 128), float("inf"))}
    name = place.put("loras", "lora.safetensors", tensors)
    lora = node("LoraLoaderModelOnly", model=["loader", 0], lora_name=name, strength_model=1.0)
    return behind({"loader": dense()["model"], "model": lora}, NODE, format="int8-channel")


def for_another_format(place: Place):
    prompt = behind(dense(), NODE, format="int8-channel", scheme=["scheme", 0])
    return {"scheme": scheme(dit="fp8-sgl"), **prompt}


def gptq(place: Place, **tensors: torch.Tensor):
    """With a calibration that has `tensors` of LAYER beside its maxima: none of an older version has tokens."""
    named = {f"{LAYER}.{end}": tensor for end, tensor in tensors.items()}
    content = {f"{LAYER}{MAXIMA}": torch.ones(128), **named}, {"format": FORMAT, "calls": "1"}
    name = place.input(f"calibration/{place.name}.safetensors", content)
    prompt = behind(dense(), NODE, format="int4-g128", rounding="gptq", calibration=["calibration", 0])
    return {"calibration": node("X2VLoadCalibration", calibration_name=name), **prompt}


CASES = {
    "gptq without a calibration": ErrorCase(
        NODE,
        lambda place: behind(dense(), NODE, format="int4-g128", rounding="gptq"),
        (
            "Rounding gptq needs recorded inputs of the layers, and no calibration is connected. Record one with "
            "Calibrate and Finish Calibration, or set rounding to auto.",
        ),
    ),
    "gptq without tokens": ErrorCase(
        NODE,
        gptq,
        (
            "Rounding gptq needs tokens, and this calibration has none. Record it again with tokens per layer above 0 "
            "in Calibrate, or set rounding to auto.",
        ),
    ),
    "tokens": ErrorCase(
        NODE,
        lambda place: gptq(place, inputs=torch.full((4, 128), float("inf"), dtype=torch.bfloat16)),
        (f": inputs of {LAYER} are infinite or not numbers", "Load it again, or save another one."),
    ),
    "rotation": ErrorCase(
        NODE,
        lambda place: behind(dense(), NODE, format="fp8-channel", rotation="convrot"),
        ("fp8-channel cannot be rotated, only int", "can. Choose such a format, or set rotation to auto."),
    ),
    "always rotated": ErrorCase(
        NODE,
        lambda place: behind(dense(), NODE, format="w4a8", rotation="none"),
        ("w4a8 is always rotated. Set rotation to auto, or choose another format.",),
    ),
    "nothing": ErrorCase(
        NODE,
        lambda place: behind(dense(), NODE, format="int8-channel", layers="* = keep"),
        (
            "No layer of this model (Wan",
            "is to be quantized. Name some in the node's layers: 'pattern = format'.",
        ),
    ),
    "nan": ErrorCase(
        NODE,
        broken,
        (
            f"quantized, layer {LAYER}: the weight contains NaN or infinite values. The file is damaged",
            "load another one.",
        ),
    ),
    "lora": ErrorCase(
        NODE,
        with_lora,
        (f"layer {LAYER}: the weight contains NaN or infinite values. Take the LoRA off, or lower its strength.",),
    ),
    "scheme": ErrorCase(
        NODE,
        for_another_format,
        (
            "would become int8-channel, but scheme fp8-sgl is for fp8-channel. Pick one of: auto, int8-vllm",
            "or quantize every layer to fp8-channel.",
        ),
    ),
    "compiled": ErrorCase(
        NODE,
        lambda place: behind(
            {"loader": dense()["model"], "model": node("CompiledBlock", model=["loader", 0])},
            NODE,
            format="int8-channel",
        ),
        ("diffusion_model.blocks.0 of this model is compiled already. Put the node that compiles after Quantize",),
    ),
}
