"""The demo's models in more formats, a second model of the same shape, LoRAs, and files that are broken."""

import json
from pathlib import Path

import safetensors.torch
import torch
from small_wan import trained_lora

from x2v_quant.benchmarks.quantize import quantized
from x2v_quant.demo import assets

# what the demo's writer calls a format, beside int8 and fp8, which the demo brings
MORE = ("fp8-tensor", "block128", "int4", "int4-marlin", "mxfp8", "nvfp4")
LORA, FOREIGN_LORA = "order_lora.safetensors", "order_foreign.safetensors"
# replaced and deleted while the server runs
TEXT_ENCODER = "order_text.safetensors"  # in the folder of diffusion models
REPLACED, DELETED, CUT = "order_replaced.safetensors", "order_deleted.safetensors", "order_cut.safetensors"


def model_file(kind: str) -> str:
    return assets.names(kind).t2v if kind in assets.FORMATS else f"order_{kind}.safetensors"


def write_models(models: Path) -> None:
    """Everything that a run loads, below ComfyUI's models folder."""
    assets.write(models)
    dit = models / assets.FOLDERS["t2v"]
    original = safetensors.torch.load_file(dit / assets.names(assets.ORIGINAL).t2v)
    config = {"config": json.dumps({"transformer": {"text_dim": original["text_embedding.0.weight"].shape[1]}})}
    for kind in MORE:
        safetensors.torch.save_file(quantized(original, kind, "dit"), dit / model_file(kind), config)
    int8 = (dit / model_file("int8")).read_bytes()
    for name in (REPLACED, DELETED):
        (dit / name).write_bytes(int8)
    (dit / CUT).write_bytes(int8[: len(int8) // 2])
    text = torch.load(models / assets.FOLDERS["t5"] / assets.names("int8").t5, weights_only=True)
    safetensors.torch.save_file(text, dit / TEXT_ENCODER)
    safetensors.torch.save_file(quantized(_other(original), "int8", "dit"), models / "other.safetensors", config)
    loras = models / "loras"
    loras.mkdir(exist_ok=True)
    safetensors.torch.save_file(trained_lora(17), loras / LORA)
    stranger = {"lora_unet_mid_block.lora_up.weight": torch.ones(4, 4)}
    safetensors.torch.save_file(
        {**stranger, "lora_unet_mid_block.lora_down.weight": torch.ones(4, 4)}, loras / FOREIGN_LORA
    )


def replace(models: Path, version: int) -> None:
    """Puts version 0 (the demo's) or 1 (the other one) under the name REPLACED, as a careful downloader does."""
    folder = models / assets.FOLDERS["t2v"]
    source = models / "other.safetensors" if version else folder / model_file("int8")
    beside = folder / f"{REPLACED}.part"
    beside.write_bytes(source.read_bytes())
    beside.replace(folder / REPLACED)


def _other(original: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The model with its first two blocks in the other order."""
    order = {"0": "1", "1": "0"}
    found = {}
    for key, tensor in original.items():
        parts = key.split(".")
        if parts[0] == "blocks":
            parts[1] = order.get(parts[1], parts[1])
        found[".".join(parts)] = tensor.clone()
    return found
