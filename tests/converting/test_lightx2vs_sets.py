"""In LightX2V's dialect the layers are quantized that its engine takes quantized only; elsewhere they are kept."""

import re

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting.convert import Options, convert
from x2v_quant.layer_rules import parse_overrides

# some layers of a model
pytestmark = pytest.mark.usefixtures("untried")
FINAL = ("all_final_layer.2-1.linear", "all_final_layer.2-1.adaLN_modulation.1")
EMBEDDERS = ("all_x_embedder.2-1", "cap_embedder.1", "t_embedder.mlp.0")
BLOCKS = (
    *(f"layers.0.attention.{name}" for name in ("to_q", "to_k", "to_v", "to_out.0")),
    "layers.0.feed_forward.w1",
    "layers.0.adaLN_modulation.0",
    *(f"{refiner}_refiner.0.attention.to_{name}" for refiner in ("context", "noise") for name in "qkv"),
)


@pytest.fixture(scope="module")
def z_image(tmp_path_factory):
    """A small Z-Image under diffusers' names, as LightX2V reads them."""
    path = tmp_path_factory.mktemp("z_image") / "z_image.safetensors"
    generator = torch.Generator().manual_seed(0)
    layers = {name: torch.randn((128, 128), generator=generator) for name in (*BLOCKS, *EMBEDDERS, *FINAL)}
    layers[FINAL[0]] = torch.randn((60, 128), generator=generator)
    save_file({f"{name}.weight": weight.to(torch.bfloat16) for name, weight in layers.items()}, path)
    return path


@pytest.fixture
def layers(z_image, tmp_path):
    """layers(**options) -> (layer -> format in the file, report)"""

    def run(**options):
        report = convert(z_image, tmp_path / "out.safetensors", Options(**options))
        found = open_checkpoint(tmp_path / "out.safetensors")
        assert not found.problems
        return {name: entry.format for name, entry in found.layers.items()}, report

    return run


@pytest.mark.parametrize("dialect", [LIGHTX2V, COMFYUI, X2V])
def test_the_final_layer_is_quantized_for_lightx2v_alone(dialect, layers):
    found, report = layers(format="int8", dialect=dialect)
    if dialect == LIGHTX2V:
        assert set(found) == {*BLOCKS, *FINAL} and set(report["kept"]) >= set(EMBEDDERS)
    else:
        joined = {re.sub("to_[qkv]$", "qkv", name).replace("to_out.0", "out") for name in BLOCKS}
        assert set(found) == joined and set(report["kept"]) >= {"x_embedder", *EMBEDDERS[1:]}


def test_the_user_has_the_last_word(layers):
    found, report = layers(format="int8", overrides=tuple(parse_overrides("all_final_layer.*.linear = keep")))
    assert set(found) == {*BLOCKS, FINAL[1]}
    assert "is kept by the rule" in report["kept"][FINAL[0]]


def test_a_format_that_cannot_hold_it_leaves_it_as_it_is(layers):
    found, _ = layers(format="mxfp8")
    assert set(found) == {*BLOCKS, FINAL[1]}


def test_a_search_chooses_for_it_too(layers):
    _, report = layers(target_snr=30.0, candidates=("int8", "int4-g128"))
    assert {report["chosen"][layer]["format"] for layer in FINAL} == {"int8-channel"}
