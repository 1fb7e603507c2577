"""What ComfyUI reserves for the values between the layers of a model."""

import comfy.model_management as management
import torch

# core's formula (BaseModel.memory_required) is a product with one of these, by the attention of the machine that asks:
# bytes per value where the attention keeps no scores, which is NVIDIA's, and otherwise
FLASH, OTHER = 0.01, 0.15


def activation_bytes(model, shape: list[int]) -> int:
    """Of a BaseModel of core's for latents of `shape` [B, C, ...], on an NVIDIA GPU, whatever machine asks."""
    needed = model.memory_required(shape)
    if management.xformers_enabled() or management.pytorch_attention_flash_attention():
        return int(needed)
    return int(needed * management.dtype_size(torch.bfloat16) * FLASH / OTHER)


def reserved_bytes() -> int:
    """What core keeps free of a GPU beside a model and its activations."""
    return int(management.minimum_inference_memory())


def total_ram() -> int:
    """Bytes of RAM of this machine."""
    return int(management.total_ram * 1024**2)
