"""What counts as a quantized layer, and every problem that the headers show."""

import json

import pytest
import torch

from x2v_quant.common.row_slice import ALL

Q = "blocks.1.self_attn.q"
F8, I8 = torch.float8_e4m3fn, torch.int8


def ones(*shape, dtype=torch.float32):
    return torch.ones(shape).to(dtype)


def marker(**entry):
    return torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)


@pytest.mark.parametrize("name", ["weight_scale", "scale_weight", "weight_scale_inv"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1), (8,), (8, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_name_and_shape_of_a_scale(name, shape, dtype, wan, opened):
    tensors = wan()
    del tensors[f"{Q}.weight_scale"]
    tensors[f"{Q}.{name}"] = torch.full(shape, 0.5).to(dtype)
    checkpoint = opened(tensors)
    assert checkpoint.problems == []
    layer = checkpoint.layers[Q]
    assert layer.stored.keys == {"codes": f"{Q}.weight", "scale": f"{Q}.{name}"}
    assert (layer.format, layer.shape, layer.rows) == ("int8-channel", (8, 16), ALL)
    scale = checkpoint.load().quantized[Q].tensors["scale"]
    assert (scale.dtype, scale.shape, scale.is_contiguous()) == (torch.float32, (8, 1), True)
    assert (scale == 0.5).all()


@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
def test_a_whole_model(format_name, wan, opened):
    checkpoint = opened(wan(format_name))
    assert checkpoint.formats == {format_name: 4}
    assert sorted(checkpoint.layers) == [f"blocks.{i}.self_attn.{n}" for i in range(2) for n in "kq"]
    assert set(checkpoint.kept) == {
        k
        for k in wan()
        if not k.endswith(("weight_scale",)) and k not in {layer.weight_key for layer in checkpoint.layers.values()}
    }
    checkpoint.require("dit")


@pytest.mark.parametrize("prefix", ["model.diffusion_model.", "diffusion_model.", ""])
@pytest.mark.parametrize("old_marker", [True, False])
def test_prefixes_are_stripped(prefix, old_marker, wan, opened):
    tensors = {prefix + key: tensor for key, tensor in wan().items()}
    if old_marker:
        tensors[f"{prefix}scaled_fp8"] = torch.zeros(2, dtype=F8)
    checkpoint = opened(tensors)
    checkpoint.require("dit")
    assert checkpoint.prefix == prefix
    assert checkpoint.layers[Q].weight_key == f"{prefix}{Q}.weight"
    weights = checkpoint.load()
    assert weights.quantized.keys() | weights.plain.keys() == {
        k.removesuffix(".weight") if "self_attn" in k and k.endswith("weight") else k
        for k in wan()
        if not k.endswith("scale")
    }


def test_a_checkpoint_with_more_than_the_diffusion_model_is_refused(wan, opened):
    tensors = {f"model.diffusion_model.{key}": tensor for key, tensor in wan().items()}
    (problem,) = opened({**tensors, "first_stage_model.x": ones(2)}).problems
    assert problem.key == "first_stage_model.x"


@pytest.mark.parametrize("format_name", ["int8-channel", "fp8-channel"])
def test_the_old_marker_does_not_decide_the_format(format_name, wan, opened):
    """LightX2V writes scaled_fp8 for int8 too."""
    checkpoint = opened({**wan(format_name), "scaled_fp8": torch.zeros(2, dtype=F8)})
    assert checkpoint.problems == []
    assert checkpoint.formats == {format_name: 4}
    assert "scaled_fp8" not in checkpoint.load().plain


GOOD_MARKS = [
    ("int8-channel", {"format": "int8_tensorwise"}),
    ("int8-channel", {"format": "int8-channel"}),
    ("int8-channel", {"format": "int8_tensorwise", "convrot": False, "params": {}}),
    ("fp8-channel", {"format": "float8_e4m3fn"}),
    ("fp8-channel", {"format": "fp8-channel", "full_precision_matrix_mult": True}),
]
BAD_MARKS = [
    ({"format": "mxfp9"}, "unknown format 'mxfp9'"),
    ({"format": "int8_tensorwise", "zero_point": 3}, "unknown entry 'zero_point'"),
    ({"format": "float8_e4m3fn"}, "is int8 but marked as float8_e4m3fn"),
    ({"format": None}, "unknown format"),
    ({"format": ["int8-channel"]}, "unknown format"),
    ([], "no JSON table"),
]
both_places = pytest.mark.parametrize("place", ["tensor", "header"])


def marked(tensors, entry, place, opened, layer=Q):
    if place == "header":
        return opened(tensors, {"_quantization_metadata": json.dumps({"layers": {layer: entry}})})
    data = torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)
    return opened({**tensors, f"{layer}.comfy_quant": data})


@both_places
@pytest.mark.parametrize("format_name,entry", GOOD_MARKS)
def test_known_markers_are_taken(format_name, entry, place, wan, opened):
    checkpoint = marked(wan(format_name), entry, place, opened)
    assert checkpoint.problems == []
    assert checkpoint.formats == {format_name: 4}
    assert f"{Q}.comfy_quant" not in checkpoint.load().plain


@both_places
@pytest.mark.parametrize("entry,words", BAD_MARKS)
def test_unknown_markers_are_a_problem(entry, words, place, wan, opened):
    (problem,) = marked(wan(), entry, place, opened).problems
    assert problem.key == f"{Q}.weight"
    assert words in problem.cause


@pytest.mark.parametrize("data", [b"", bytes(8), b"null", b"{", b"\xff\xfe"])
def test_a_marker_that_is_no_json_is_a_problem(data, wan, opened):
    (problem,) = opened({**wan(), f"{Q}.comfy_quant": torch.tensor(list(data), dtype=torch.uint8)}).problems
    assert (problem.key, problem.cause) == (f"{Q}.weight", "has a marker that is no JSON table")


@both_places
def test_a_marked_layer_without_codes_is_a_problem(place, wan, opened):
    tensors = wan()
    del tensors[f"{Q}.weight_scale"]
    tensors[f"{Q}.weight"] = torch.zeros(8, 16)
    (problem,) = marked(tensors, {"format": "int8_tensorwise"}, place, opened).problems
    assert str(problem).startswith(f"model.safetensors: {Q}.weight is float32 but marked as int8_tensorwise.")


def test_a_marker_of_nothing(wan, opened):
    (problem,) = marked(wan(), {"format": "int8_tensorwise"}, "tensor", opened, "blocks.9.x").problems
    assert problem.key == "blocks.9.x.comfy_quant"
    checkpoint = marked(wan(), {"format": "int8_tensorwise"}, "header", opened, "blocks.9.x")
    assert checkpoint.problems == []
    assert "blocks.9.x" in checkpoint.notes[0]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"layers": 3}'])
def test_header_metadata_that_is_no_table(text, wan, opened):
    (problem,) = opened(wan(), {"_quantization_metadata": text}).problems
    assert problem.key == "_quantization_metadata"


@pytest.mark.parametrize("end", ["input_scale", "scale_input"])
def test_a_static_activation_scale_is_ignored_aloud(end, wan, opened):
    checkpoint = opened({**wan("int8-channel"), f"{Q}.{end}": ones()})
    assert checkpoint.problems == []
    assert checkpoint.notes == ["1 static input scales ignored: activations are quantized as they come"]
    assert f"{Q}.{end}" not in checkpoint.load().plain


# change of a sound Wan -> key and words of the one problem it must give
CHANGES = {
    "scale missing": ({"weight_scale": None}, "weight", "has no scale"),
    "scale misspelt": ({"weight_scale": None, "weight_scal": ones(8, 1)}, "weight", f"is {Q}.weight_scal)"),
    "scale too short": ({"weight_scale": ones(7, 1)}, "weight_scale", "wants [8, 1]"),
    "scale too long": ({"weight_scale": ones(13)}, "weight_scale", "wants [8, 1]"),
    "scale of columns": ({"weight_scale": ones(16)}, "weight_scale", "int8 with a scale per input channel"),
    "scale of codes": ({"weight_scale": ones(8, 1, dtype=I8)}, "weight_scale", "has dtype int8"),
    "scale doubled": ({"scale_weight": ones(8, 1)}, "scale_weight", "second scale"),
    "groups": ({"weight_scale": ones(8, 4)}, "weight_scale", "int8 with groups of 4"),
    "block": (
        {"weight": ones(256, 384, dtype=I8), "weight_scale": None, "weight_scale_inv": ones(16, 24)},
        "weight_scale_inv",
        "int8-block16",
    ),
    "mxfp8": (
        {"weight": ones(8, 64, dtype=F8), "weight_scale": ones(8, 2, dtype=torch.uint8)},
        "weight_scale",
        "mxfp8",
    ),
    "e5m2 in groups": (
        {"weight": ones(8, 16, dtype=torch.float8_e5m2), "weight_scale": ones(8, 4)},
        "weight_scale",
        "fp8-e5m2 with groups of 4",
    ),
    "packed int4": ({"weight": ones(8, 4, dtype=torch.int32), "weight_scale": ones(8, 1)}, "weight", "packed int4"),
    "nvfp4": (
        {
            "weight": ones(8, 32, dtype=torch.uint8),
            "weight_scale": ones(8, 4, dtype=F8),
            "weight_global_scale": ones(),
        },
        "weight",
        "nvfp4",
    ),
    "mxfp4": (
        {"weight": ones(8, 32, dtype=torch.uint8), "weight_scale": ones(8, 2, dtype=torch.uint8)},
        "weight",
        "mxfp4",
    ),
    "mxfp6": (
        {"weight": ones(8, 48, dtype=torch.uint8), "weight_scale": ones(8, 2, dtype=torch.uint8)},
        "weight",
        "mxfp6",
    ),
    # 2080 columns, if a byte holds two codes: more than a group of any format
    "unknown packing": ({"weight": ones(8, 1040, dtype=torch.uint8)}, "weight", "uint8, which is not known"),
    "not a linear layer": (
        {"weight": ones(8, 4, 4, dtype=I8), "weight_scale": ones(3)},
        "weight",
        "not the weight of a linear layer",
    ),
    "codes for a bias": ({"bias": ones(8, dtype=I8)}, "bias", "not the weight of a linear layer"),
    "scale of a plain weight": ({"weight": ones(8, 16)}, "weight_scale", "weight is not quantized (float32)"),
    "scale without weight": ({"weight": None}, "weight_scale", "a scale without a weight"),
    "smoothing of another width": ({"pre_quant_scale": ones(8)}, "pre_quant_scale", "smooths the activations"),
    "another smoothing": ({"smooth_factor": ones(16)}, "smooth_factor", "smooths the activations"),
    "global scale": ({"weight_global_scale": ones()}, "weight_global_scale", "a format that is not known"),
    "workspace": ({"weight_workspace": ones(4, dtype=torch.int32)}, "weight_workspace", "a format that is not known"),
    "zero point": ({"weight_zero_point": ones(8)}, "weight_zero_point", "has zero points"),
    "low rank": ({"svd_up": ones(8)}, "svd_up", "a low-rank correction"),
}


@pytest.mark.parametrize("change,end,words", CHANGES.values(), ids=CHANGES)
def test_what_would_give_noise_is_a_problem(change, end, words, wan, opened):
    tensors = wan()
    for name, tensor in change.items():
        tensors[f"{Q}.{name}"] = tensor
    tensors = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    checkpoint = opened(tensors)
    (problem,) = checkpoint.problems
    assert (problem.file, problem.key) == ("model.safetensors", f"{Q}.{end}")
    assert words in problem.cause
    assert problem.remedy.endswith(".")
    with pytest.raises(ValueError, match=r"model\.safetensors: blocks\.1\.self_attn\.q"):
        checkpoint.require("dit")


@pytest.mark.parametrize("name", ["affine_norm2.weight", "affine_norm4.bias"])
def test_a_norm_that_smooths_layers_unknown_here_is_refused(name, wan, opened):
    (problem,) = opened({**wan(), f"blocks.0.{name}": ones(8)}).problems
    assert "SmoothQuant" in problem.cause


def test_a_misspelt_layer_is_named(wan, opened):
    tensors = wan()
    tensors["blocks.1.self_atn.q.weight_scale"] = tensors.pop(f"{Q}.weight_scale")
    first, second = opened(tensors).problems
    assert first.cause == "has no scale (the nearest name in the file is blocks.1.self_atn.q.weight_scale)"
    assert second.key == "blocks.1.self_atn.q.weight_scale"


def test_ordinary_names_with_scale_or_weight_are_no_problem(wan, opened):
    names = ["blocks.0.norm.scale", "scale_shift_table", "x.weight_g", "x.weight_v", "blocks.0.ls1.layer_scale"]
    checkpoint = opened({**wan(), **{name: ones(8) for name in names}})
    assert checkpoint.problems == []
    assert set(names) <= set(checkpoint.kept)
