"""LoRAs on weights of 4 bits: how they are told, that `auto` keeps LoRAs beside them in every such format, exactly, and
that the report says why."""

import logging

import pytest
import torch
from distance import distance
from small_wan import TRAINED, WanFiles, lora

from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.formats import FORMATS, format_of
from x2v_quant.formats.bits import bits_per_code
from x2v_quant.loading.dit import load_dit
from x2v_quant.loras import apply_lora
from x2v_quant.loras.apply import ENOUGH_BITS, WHY_BESIDE
from x2v_quant.schemes import SchemeChoice

pytestmark = pytest.mark.usefixtures("inference")
SIZE = WanSize(dim=256, ffn=512, blocks=1)  # widths that every group divides
LAYERS = {
    "blocks.0.self_attn.q": (SIZE.dim, SIZE.dim),
    "blocks.0.cross_attn.o": (SIZE.dim, SIZE.dim),
    "blocks.0.ffn.0": (SIZE.ffn, SIZE.dim),
    "blocks.0.ffn.2": (SIZE.dim, SIZE.ffn),
}
STRENGTH, LESS = 1.0, 0.5
FORWARD = 1e-4  # of float32 through the model
# kernels that compute a layer from the weight that is there, without rounding its input; one that takes Marlin's order
SCHEME, MARLINS = "dequant", "reference"


def bits(name: str) -> float:
    shape = (256, max(256, FORMATS[name].rotation))
    return bits_per_code(FORMATS[name].quantize(torch.ones(shape), torch.bfloat16))


FEW = [name for name in FORMATS if bits(name) < ENOUGH_BITS]


@pytest.fixture
def small_lora():
    shapes = {"self_attn.v": (TRAINED.dim, TRAINED.dim), "ffn.2": (TRAINED.dim, TRAINED.ffn)}
    on = {f"blocks.{block}.{layer}": shape for block in range(TRAINED.blocks) for layer, shape in shapes.items()}
    return lora(on)


@pytest.fixture(scope="module")
def wan_files(tmp_path_factory):
    return WanFiles(tmp_path_factory, SIZE)


@pytest.fixture
def few_bits(wan_files):
    """few_bits(format) -> a small model whose blocks are in that format."""

    def make(name):
        scheme = MARLINS if "marlin" in name else SCHEME
        model = load_dit(wan_files[name][1], SchemeChoice(dit=scheme, compute_dtype="fp32"))
        for layer in LAYERS:
            assert format_of(model.model.diffusion_model.get_submodule(layer).weight).name == name
        return model

    return make


def test_the_formats_of_4_bits_are_those_that_one_expects():
    families = {FORMATS[name].family for name in FEW}
    assert families >= {"int4-g128", "nvfp4", "mxfp4", "awq-w4a16"}
    assert {bits(name) for name in FEW} == {4}
    others = {FORMATS[name].family for name in FORMATS if name not in FEW}
    assert all(name.startswith(("int8", "fp8", "mxfp8", "mxfp6")) for name in others)


@pytest.mark.parametrize("name", FEW)
def test_auto_is_beside_the_weights_and_does_what_the_dequantized_model_with_the_lora_does(
    name, few_bits, dequantized, output, contents, same
):
    model, tensors = few_bits(name), lora(LAYERS, strength=STRENGTH)
    before, alone = contents(model), output(model)
    dense = dequantized(model)
    wanted = output(apply_lora(dense, tensors, "lora.safetensors", LESS)[0])
    patched, report = apply_lora(model, tensors, "lora.safetensors", LESS)
    assert "(bypassed)" in report and WHY_BESIDE in report
    got = output(patched)
    assert distance(alone, wanted) > 100 * FORWARD
    assert distance(got, wanted) < FORWARD
    assert same(contents(patched), before)
    assert torch.equal(output(model), alone)


def test_the_reason_is_said_once(models, small_lora, caplog):
    with caplog.at_level(logging.INFO, "x2v-quant"):
        _, report = apply_lora(models("int4-g128"), small_lora, "lora.safetensors")
    assert report.count(WHY_BESIDE) == caplog.text.count(WHY_BESIDE) == 1
    for mode, name in (("merge", "int4-g128"), ("bypass", "int4-g128"), ("auto", "int8-channel")):
        assert WHY_BESIDE not in apply_lora(models(name), small_lora, "lora.safetensors", 1.0, mode)[1]
