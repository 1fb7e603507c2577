"""Models of no known family: linear layers in numbered blocks, and never what leads in or out."""

import pytest

from x2v_quant.layer_rules import select
from x2v_quant.layer_rules.default import MULTIPLE, SMALLEST

MMDIT = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")

EXPECTED = {
    "cosmos": {
        f"blocks.{i}.{part}"
        for i in range(2)
        for part in (
            *(f"{kind}_attn.{name}_proj" for kind in ("self", "cross") for name in ("q", "k", "v", "output")),
            "mlp.layer1",
            "mlp.layer2",
        )
    },
    "sd3": {
        f"joint_blocks.{i}.{stream}_block.{part}"
        for i in range(4)
        for stream in ("context", "x")
        for part in MMDIT
        # the last block has no output for the text
        if (i, stream) != (3, "context") or part == "attn.qkv"
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_the_linear_layers_of_the_blocks_are_taken(name, core_model):
    model = core_model(name)
    selection = select(model.layers, model.names, "int8-channel")
    assert selection.family == "unknown family"
    assert set(selection.formats) == EXPECTED[name]
    assert set(selection.formats) <= model.linear


@pytest.mark.parametrize(
    "layer,reason",
    [
        ("time_embed.0.proj", "embeds an input"),
        ("blocks.0.emb_layers.1", "embeds an input"),
        ("blocks.0.txt_in", "projects an input"),
        ("audio.0.caption_projection", "projects an input"),
        ("blocks.0.adaLN_modulation.1", "modulates"),
        ("blocks.0.img_mod.lin", "modulates"),
        ("blocks.0.norm1.linear", "norm"),
        ("head.0.linear", "output layer"),
        ("final_layer.1.linear", "output layer"),
        ("proj", "outside the numbered blocks"),
        ("connector.1", "outside the numbered blocks"),
    ],
)
def test_what_is_kept_by_its_name(layer, reason):
    assert reason in select({layer: (256, 256)}, [f"{layer}.weight"], "int8-channel").kept[layer]


@pytest.mark.parametrize("layer", ["blocks.0.attn.to_out.0", "layers.1.mlp.c_proj", "input_blocks.4.1.proj_in"])
def test_what_only_sounds_like_an_input_or_output_is_taken(layer):
    assert select({layer: (256, 256)}, [f"{layer}.weight"], "int8-channel").formats == {layer: "int8-channel"}


@pytest.mark.parametrize(
    "shape,words",
    [
        ((SMALLEST, SMALLEST), None),
        ((SMALLEST - MULTIPLE, 4096), "below"),
        ((4096, SMALLEST - MULTIPLE), "below"),
        ((4096, 4096 + MULTIPLE // 2), "no multiple"),
        ((4096 + 1, 4096), "no multiple"),
    ],
)
def test_what_is_kept_by_its_shape(shape, words):
    selection = select({"blocks.0.fc": shape}, [], "int8-channel")
    assert ("blocks.0.fc" in selection.formats) == (words is None)
    assert words is None or words in selection.kept["blocks.0.fc"]
