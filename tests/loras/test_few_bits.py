"""LoRAs on weights of 4 bits: how they are told, and that the report says why `auto` keeps LoRAs beside them."""

import logging

import pytest
import torch
from small_wan import TRAINED, lora

from x2v_quant.formats import FORMATS
from x2v_quant.formats.bits import bits_per_code
from x2v_quant.loras import apply_lora
from x2v_quant.loras.apply import ENOUGH_BITS, WHY_BESIDE

pytestmark = pytest.mark.usefixtures("inference")
# format -> bits of a code
BITS = {"int4-g128": 4, "int4-g128-marlin": 4, "nvfp4": 4}


@pytest.fixture
def small_lora():
    shapes = {"self_attn.v": (TRAINED.dim, TRAINED.dim), "ffn.2": (TRAINED.dim, TRAINED.ffn)}
    on = {f"blocks.{block}.{layer}": shape for block in range(TRAINED.blocks) for layer, shape in shapes.items()}
    return lora(on)


def test_the_reason_is_said_once(models, small_lora, caplog):
    with caplog.at_level(logging.INFO, "x2v-quant"):
        _, report = apply_lora(models("int4-g128"), small_lora, "lora.safetensors")
    assert report.count(WHY_BESIDE) == caplog.text.count(WHY_BESIDE) == 1
    for mode, name in (("merge", "int4-g128"), ("bypass", "int4-g128"), ("auto", "int8-channel")):
        assert WHY_BESIDE not in apply_lora(models(name), small_lora, "lora.safetensors", 1.0, mode)[1]


@pytest.mark.parametrize("name", BITS)
def test_what_has_few_bits_is_told_by_its_codes(name):
    weight = FORMATS[name].quantize(torch.randn(256, 256), torch.bfloat16)
    assert bits_per_code(weight) == BITS[name]
    assert bits_per_code(weight) < ENOUGH_BITS
    assert bits_per_code(FORMATS["int8-channel"].quantize(torch.randn(256, 256), torch.bfloat16)) == 8
