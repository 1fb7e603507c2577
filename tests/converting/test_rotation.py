"""`--rotation`: int8 with and without rotated channels."""

import pytest
from older_comfyui import core_rotates_int8

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import X2V
from x2v_quant.converting import ConvertError
from x2v_quant.converting.rotation import wanted_format, with_groups
from x2v_quant.core.features import rotates_int8
from x2v_quant.formats import ROTATIONS
from x2v_quant.layer_rules import parse_overrides


@core_rotates_int8
@pytest.mark.parametrize(
    "asked,found",
    [
        ({"format": "int8"}, {"int8-channel": 20}),
        ({"format": "int8", "rotation": "64"}, {"int8-convrot-64": 20}),
        # 384 input channels of ffn.2 are no multiple of 256
        ({"format": "int8", "rotation": "256"}, {"int8-convrot": 18, "int8-convrot-64": 2}),
        ({"format": "int8-convrot", "rotation": "16"}, {"int8-convrot-16": 20}),
        ({"format": "int8-convrot", "rotation": "none"}, {"int8-channel": 20}),
        ({"format": "int4-g128", "rotation": "none"}, {"int4-g128": 20}),
        ({"format": "w4a8", "rotation": "16"}, {"w4a8-16": 20}),
    ],
    ids=str,
)
def test_a_format_gets_its_twin(asked, found, source, converted):
    assert open_checkpoint(converted(source, dialect=X2V, **asked)).formats == found


@core_rotates_int8
def test_layers_with_a_format_of_their_own_keep_it(source, converted):
    rules = tuple(parse_overrides("ffn.0 = int8-channel"))
    made = converted(source, dialect=X2V, format="int8", rotation="64", overrides=rules)
    assert open_checkpoint(made).formats == {"int8-channel": 2, "int8-convrot-64": 18}


@core_rotates_int8
def test_a_quantized_source_is_rotated_if_asked(source, converted):
    first = converted(source, "a.safetensors", dialect=X2V, format="int8")
    assert open_checkpoint(converted(first, "b.safetensors", dialect=X2V)).formats == {"int8-channel": 20}
    rotated = converted(first, "c.safetensors", dialect=X2V, rotation="64")
    assert open_checkpoint(rotated).formats == {"int8-convrot-64": 20}


@core_rotates_int8
@pytest.mark.parametrize(
    "asked,words",
    [
        (
            {"format": "fp8-channel", "rotation": "64"},
            "has no rotation: it is for int8-channel, convrot-w4a4",
        ),
        ({"format": "int8", "rotation": "100"}, "Its rotations: 4, 16, 64"),
        ({"format": "int8", "rotation": "-64"}, "no rotation of -64 channels"),
        ({"format": "int8", "rotation": "convrot"}, 'int8-convrot has no rotation "convrot". Its rotations: 4, 16'),
        ({"format": "w4a8", "rotation": "none"}, "w4a8 is always rotated"),
        ({"format": "w4a8", "rotation": "1024"}, "Its rotations: 16, 64, 256\\."),
        ({"target_snr": 20.0, "rotation": "64"}, "leave the rotation out"),
    ],
    ids=str,
)
def test_what_cannot_be_rotated_is_refused(asked, words, source, converted):
    with pytest.raises(ConvertError, match=words):
        converted(source, dialect=X2V, **asked)


@core_rotates_int8
def test_a_group_that_divides_no_layer_leaves_what_suits_it():
    shapes = {"a": (8, 256), "b": (8, 384)}
    assert with_groups({"a": "int8-convrot", "b": "int8-convrot-64"}, shapes, "1024") == {
        "a": "int8-convrot",
        "b": "int8-convrot-64",
    }


@pytest.mark.skipif(rotates_int8(), reason="takes a ComfyUI without rotated int8")
@pytest.mark.parametrize("name", ["int8-channel", "int8-convrot"])
def test_an_older_comfyui_says_what_to_do(name):
    with pytest.raises(ConvertError, match=r"Update it to 0\.27 or newer, or leave --rotation out"):
        wanted_format(name, "64")


@pytest.mark.skipif(rotates_int8(), reason="takes a ComfyUI without rotated int8")
def test_it_names_what_can_be_rotated_there():
    with pytest.raises(ConvertError, match="fp8-channel has no rotation: it is for convrot-w4a4, int4-g128, w4a8"):
        wanted_format("fp8-channel", "64")


def test_a_comfyui_without_rotated_int8_is_told_to_update(monkeypatch):
    """As 0.24, whose comfy-kitchen has none."""
    monkeypatch.setitem(ROTATIONS, "int8-convrot", frozenset())
    with pytest.raises(ConvertError, match=r"no rotated int8 weights\. Update it to 0\.27"):
        wanted_format("int8-channel", "64")
