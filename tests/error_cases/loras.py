"""LoRAs that are damaged, or have nothing for the model."""

import torch

from .case import ErrorCase
from .graphs import behind, ours
from .place import Place

NODE = "X2VLoadLoRA"
FILE, PICKLED = "lora.safetensors", "lora.pth"
LAYER = "diffusion_model.blocks.0.ffn.0"
PICK = "Pick a LoRA that was made for it."


def pair(layer: str = LAYER, n: int = 512, k: int = 128, up: int = 4, down: int = 4) -> dict[str, torch.Tensor]:
    return {f"{layer}.lora_A.weight": torch.ones(down, k), f"{layer}.lora_B.weight": torch.ones(n, up)}


def lora(content, *words: str, name: str = FILE, **inputs) -> ErrorCase:
    def make(place: Place):
        return behind(ours(), NODE, lora_name=place.put("loras", name, content), strength=1.0, mode="auto", **inputs)

    return ErrorCase(NODE, make, words)


def alone(**parts: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Ones of these shapes for the layer; "__" in a suffix is a dot."""
    return {f"{LAYER}.{suffix.replace('__', '.')}": torch.ones(shape) for suffix, shape in parts.items()}


UNFIT = f"{FILE} has nothing for this model: {LAYER}."

CASES = {
    "another kind of file": lora(
        b"<html>" * 9, f"{FILE} is a web page, not a LoRA. Download the file itself; sign in first where"
    ),
    "cut": lora(b"\x09" + bytes(7) + b"{", f"{FILE} is cut off inside its header. Download it again."),
    "gguf": lora(b"GGUF" + bytes(99), f"{FILE} is a GGUF file. Get the LoRA as .safetensors."),
    "another model": lora(
        pair("lora_unet_down_blocks_0_attentions_0_proj_in", 320, 320),
        f"{FILE} has nothing for this model: its keys are like lora_unet_down_blocks_0_attentions_0_proj_in.",
        "the model's layers like blocks.",
        PICK,
    ),
    "another size": lora(
        pair(n=13824, k=5120),
        f"{FILE} was made for a model of another size: {LAYER}.lora_",
        "is for a tensor of [13824, 5120], the model has [512, 128]. Pick a LoRA for this model's size.",
    ),
    "no lora": lora(
        {"blocks.0.ffn.0.weight": torch.ones(2, 2)},
        f"{FILE} has nothing for this model: blocks.0.ffn.0.weight is no tensor of a LoRA. {PICK}",
    ),
    "empty": lora({}, f"{FILE} has nothing for this model: it has no tensor. {PICK}"),
    "half": lora(
        {f"{LAYER}.lora_A.weight": torch.ones(4, 128)},
        f"{FILE}: {LAYER}.lora_A.weight has no lora_up.weight beside it. Download the file again.",
    ),
    "ranks": lora(
        pair(up=8),
        f"{FILE} has nothing for this model: {LAYER}.lora_",
        "lora_up.weight has rank 8, lora_down.weight rank 4",
        PICK,
    ),
    "rank 0": lora(pair(up=0, down=0), UNFIT, f"does not fit: its rank is 0. {PICK}"),
    "middle": lora(
        {**pair(), f"{LAYER}.lora_mid.weight": torch.ones(4, 4)},
        UNFIT,
        "does not fit: lora_mid.weight of [4, 4] does not go between factors of [512, 4] and [4, 128]",
    ),
    "halves of a loha": lora(
        alone(hada_w1_a=(512, 4), hada_w1_b=(4, 128), hada_w2_a=(256, 4), hada_w2_b=(4, 128)),
        UNFIT,
        "does not fit: its first two factors make [512, 128], its other two [256, 128]",
    ),
    "glora": lora(
        alone(a1__weight=(64, 4), a2__weight=(4, 128), b1__weight=(512, 4), b2__weight=(4, 128)),
        UNFIT,
        "does not fit: its factors are [64, 4], [4, 128], [512, 4] and [4, 128], which do not go together",
    ),
    "oft": lora(alone(oft_blocks=(128, 4, 5)), UNFIT, "its blocks are [128, 4, 5], which are no square ones"),
    "boft": lora(alone(oft_blocks=(9, 128, 4, 4)), UNFIT, "its 9 stages of blocks do not divide 512 rows"),
    "dora": lora(
        {**pair(), f"{LAYER}.dora_scale": torch.ones(100, 1)},
        UNFIT,
        "its magnitudes are [100, 1], which is neither one for each of the 512 rows nor for each of the 128 columns",
    ),
    "grown": lora(
        {**pair(), f"{LAYER}.reshape_weight": torch.tensor([1000, 128])},
        UNFIT,
        "it is to make [512, 128] to [1000, 128], and its factors are for [512, 128]",
    ),
    "list": lora([1, 2], f"{PICKLED} has no table of named tensors. Pick the file of a LoRA.", name=PICKLED),
    "no names": lora(
        {1: torch.ones(4, 4), 2: torch.ones(4, 4)},
        f"{PICKLED} has no table of named tensors. Pick the file of a LoRA.",
        name=PICKLED,
    ),
    "numbers": lora(
        {f"{LAYER}.lora_A.weight": torch.tensor(1.0), f"{LAYER}.lora_B.weight": torch.tensor(1.0)},
        f"{FILE} was made for a model of another size: {LAYER}.lora_",
        "is for a tensor of [1, 1], the model has [512, 128]. Pick a LoRA for this model's size.",
    ),
    "half of a lokr": lora(
        {f"{LAYER}.lokr_w1": torch.ones(4, 4), f"{LAYER}.lokr_w2_a": torch.ones(128, 4)},
        f"{FILE}: {LAYER}.lokr_w2_a has no lokr_w2_b beside it. Download the file again.",
    ),
    "first of a lokr": lora(
        {f"{LAYER}.lokr_w1": torch.ones(4, 4)},
        f"{FILE}: {LAYER}.lokr_w1 has no lokr_w2 or lokr_w2_a beside it. Download the file again.",
    ),
    "alphas": lora(
        {**pair(), f"{LAYER}.alpha": torch.ones(2)},
        f"{FILE}: {LAYER}.alpha has shape [2], not one value. Download the file again.",
    ),
    "whole numbers": lora(
        {key: tensor.to(torch.int8) for key, tensor in pair().items()},
        f"{FILE}: {LAYER}.lora_",
        "has int8 values, and a LoRA's are floating-point numbers. Get the LoRA in 16 bits.",
    ),
    "scales": lora(
        {**pair(), f"{LAYER}.lora_A.weight_scale": torch.tensor(2.0)},
        f"{FILE}: {LAYER}.lora_A.weight_scale is a scale of a quantized LoRA, which is not read. Get the LoRA in 16",
    ),
    "two contents": lora(
        {**pair(), f"{LAYER}.dora_scale": torch.ones(512, 1), f"{LAYER}.lora_magnitude_vector": torch.zeros(512)},
        f"{FILE}: {LAYER}.",
        "are the same tensor with two contents. Remove one of them from the file.",
    ),
    "no number": lora(
        {**pair(), f"{LAYER}.alpha": torch.tensor(float("nan"))},
        f"{FILE}: {LAYER}.alpha contains NaN or infinite values. The file is damaged or its training broke",
    ),
    "large": lora(
        {**pair(), f"{LAYER}.diff_b": torch.full((512,), 7e4)},
        f"{FILE}: {LAYER}.diff_b contains 7e+04, which is more than 16 bits can store (65504). The file is damaged",
    ),
    "overflow": lora(
        {key: tensor * 300 for key, tensor in pair().items()},
        f"{FILE}: {LAYER}.lora_",
        "multiply to 3.6e+05, which is more than 16 bits can store (65504).",
    ),
    "two changes": lora(
        {**pair(), f"{LAYER}.lora_up.weight": torch.zeros(512, 4), f"{LAYER}.lora_down.weight": torch.ones(4, 128)},
        f"{FILE}: {LAYER}.lora_",
        "change the same weight in different ways. Remove the tensors of one of the two spellings from the file.",
    ),
    "the other expert": lora(
        pair("transformer_2.blocks.0.ffn.0"),
        f"{FILE} has nothing for the high-noise expert, only for the low-noise one. Pick the expert 'auto' on the node",
        expert="high",
    ),
}
