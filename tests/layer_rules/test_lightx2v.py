"""The layers that LightX2V's converter quantized in the files that it wrote are those that the rules take."""

from pathlib import Path

import pytest

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.layer_rules import select

FIXTURES = Path(__file__).parent.parent / "fixtures"
CLIP = "models_clip_open-clip-xlm-roberta-large-vit-huge-14"
FILES = {
    "wan_t2v_int8_blocks": ("Wan", 20),
    "wan_t2v_fp8.safetensors": ("Wan", 10),
    "models_t5_umt5-xxl-enc-int8.pth": ("T5", 21),
    "models_t5_umt5-xxl-enc-fp8.pth": ("T5", 21),
    f"{CLIP}-int8.pth": ("CLIP vision", 12),
    f"{CLIP}-fp8.pth": ("CLIP vision", 12),
}


@pytest.mark.parametrize("name", FILES)
def test_the_rules_take_what_the_converter_quantized(name):
    family, count = FILES[name]
    tensors = open_checkpoint(FIXTURES / name).tensors
    weights = {key.removesuffix(".weight"): info for key, info in tensors.items() if key.endswith(".weight")}
    layers = {layer: info.shape for layer, info in weights.items() if len(info.shape) == 2}
    quantized = {layer for layer in layers if f"{layer}.weight_scale" in tensors}
    assert len(quantized) == count
    selection = select(layers, tensors, "int8-channel")
    assert selection.family == family
    assert set(selection.formats) == quantized
