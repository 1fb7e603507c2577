"""What looks like an encoding that is read and is not: refused by file, key, cause and remedy. Nothing else breaks."""

import pytest
import torch
from one_layer import K, N, Q, made, marker, put

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.encodings import ENCODINGS, WHAT_IS_READ
from x2v_quant.common import limits
from x2v_quant.formats import FORMATS, family

F8 = torch.float8_e4m3fn


def zeros(*shape, dtype=torch.float16):
    return torch.zeros(shape, dtype=torch.uint8).to(dtype)


def words(*shape):
    return zeros(*shape, dtype=torch.int32)


def bytes_(*shape, dtype=torch.uint8):
    return zeros(*shape, dtype=torch.uint8).view(dtype)


# what the headers show: kind of a sound layer or None, the change -> key and words of the problem
SEEN = {
    "gptq groups of 16": (
        None,
        {"qweight": words(32, 128), "scales": zeros(16, 128), "qzeros": words(16, 16)},
        "qweight",
        "int4 with groups of 16",
    ),
    "gptq per channel": (
        None,
        {"qweight": words(32, 128), "scales": zeros(1, 128), "qzeros": words(1, 16)},
        "qweight",
        "int4 with groups of 256",
    ),
    "gptq of 8 bits": (
        None,
        {"qweight": words(64, 128), "scales": zeros(2, 128), "qzeros": words(2, 32)},
        "qweight",
        "GPTQ with 8 bits",
    ),
    "gptq without zeros": ("int4-gptq", {"qzeros": None}, "qweight", "has no qzeros, which int4-g128 layers have"),
    "awq groups of 16": (
        None,
        {"qweight": words(256, 16), "scales": zeros(16, 128), "qzeros": words(16, 16)},
        "qweight",
        "AWQ, int4 with groups of 16",
    ),
    "awq per channel": (
        None,
        {"qweight": words(256, 16), "scales": zeros(1, 128), "qzeros": words(1, 16)},
        "qweight",
        "AWQ, int4 with groups of 256",
    ),
    "awq without zeros": ("int4-autoawq", {"qzeros": None}, "qweight", "has no qzeros, which awq-w4a16-128 layers"),
    "only qweight": (None, {"qweight": words(32, 128)}, "qweight", "packed int4 (GPTQ or AWQ)"),
    "packed groups of 64": (
        "int4-compressed",
        {"weight_scale": zeros(N, 4)},
        "weight_packed",
        "int4 with groups of 64",
    ),
    "packed with zero points": (
        "int4-compressed",
        {"weight_zero_point": words(16, 2)},
        "weight_zero_point",
        "has zero points",
    ),
    "packed without a shape": ("int4-compressed", {"weight_shape": None}, "weight_packed", "has no weight_shape"),
    "int4 groups of 64": ("int4", {"weight_scale": zeros(N, 4)}, "weight", "int4 with groups of 64"),
    "marlin groups of 64": ("int4-marlin", {"weight_scale": zeros(4, N)}, "weight", "int4 with groups of 64"),
    "marlin per channel": ("int4-marlin", {"weight_scale": zeros(1, N)}, "weight", "int4 with groups of 256"),
    "nvfp4 without its scale": (
        "nvfp4",
        {"weight_global_scale": None},
        "weight",
        "has no weight_global_scale, which nvfp4",
    ),
    "nvfp4 of core without its scale": (
        "nvfp4",
        {"weight_global_scale": None, "comfy_quant": marker("nvfp4")},
        "weight",
        "has no weight_scale_2",
    ),
    "nvfp4 with one alpha": (
        "nvfp4",
        {"weight_global_scale": None, "alpha": torch.ones(1)},
        "weight",
        "has no weight_global_scale",
    ),
    "nvfp4 smoothed": ("nvfp4", {"pre_quant_scale": zeros(K)}, "pre_quant_scale", "smooths the activations"),
    "nvfp4 of compressed-tensors": (
        None,
        {
            "weight_packed": bytes_(N, K // 2),
            "weight_scale": bytes_(N, K // 16, dtype=F8),
            "weight_global_scale": zeros(1),
        },
        "weight_packed",
        "nvfp4, and not LightX2V's",
    ),
    "mxfp4 with plain scales": (
        None,
        {"weight": bytes_(64, K // 2), "weight_scale": bytes_(64, K // 32, dtype=torch.float8_e8m0fnu)},
        "weight",
        "mxfp4 with scales in another order than LightX2V's",
    ),
    "mxfp6 with plain scales": (
        None,
        {"weight": bytes_(64, 384), "weight_scale": words(64, 512 // 128)},
        "weight",
        "mxfp6 with scales in another order than LightX2V's",
    ),
    "mxfp4 with tiled scales, marked": (
        None,
        {"weight": bytes_(64, K // 2), "weight_scale": bytes_(128, K // 32), "comfy_quant": marker("mxfp4")},
        "weight",
        "marked as mxfp4",
    ),
    "mxfp8 that is not marked": (
        None,
        {"weight": zeros(N, K, dtype=F8), "weight_scale": bytes_(N, K // 32)},
        "weight_scale",
        "mxfp8 without ComfyUI's marker",
    ),
    "mxfp8 with plain scales": (
        None,
        {"weight": zeros(64, K, dtype=F8), "weight_scale": bytes_(64, K // 32), "comfy_quant": marker("mxfp8")},
        "weight_scale",
        "marked as mxfp8",
    ),
    "blocks that are marked as channels": (
        "block128",
        {"comfy_quant": marker("float8_e4m3fn")},
        "weight_scale",
        "marked as float8_e4m3fn",
    ),
    "marked and of another type": (
        "int4",
        {"comfy_quant": marker("mxfp8")},
        "weight",
        "is uint8 but marked as mxfp8",
    ),
    "two input scales": (
        "fp8-tensor",
        {"scale_input": torch.ones(1)},
        "scale_input",
        "is a second scale beside blocks.1.self_attn.q.input_scale",
    ),
    "codes of no size": (
        None,
        {"weight": zeros(0, 16, dtype=F8), "weight_scale": zeros(0, 1)},
        "weight_scale",
        "which is empty",
    ),
}


@pytest.mark.parametrize("kind,change,end,words", SEEN.values(), ids=SEEN)
def test_what_the_headers_show(kind, change, end, words, tmp_path):
    checkpoint = open_checkpoint(put(tmp_path / "model.safetensors", (made(kind) if kind else {}) | change))
    (problem,) = checkpoint.problems
    assert (problem.file, problem.key) == ("model.safetensors", f"{Q}.{end}")
    assert words in problem.cause
    assert problem.remedy.endswith(".")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: blocks\.1\.self_attn\.q"):
        checkpoint.require("dit")


def test_the_remedy_lists_every_format_that_is_read():
    assert all(family(name) in WHAT_IS_READ for name in FORMATS)
    for row in ENCODINGS:
        assert row.format in FORMATS
        assert row.marks or row.unmarked


# what only the values show: kind, the tensor's end, what is written over it -> words
HELD = {
    "gptq zeros": ("int4-gptq", "qzeros", lambda t: t.index_fill_(0, torch.tensor(1), 0x77777776), "asymmetric"),
    "gptq zeros mixed": ("int4-gptq", "qzeros", lambda t: t.index_fill_(0, torch.tensor(1), 0x77777788), "asymmetric"),
    "awq scale": ("int4-autoawq", "scales", lambda t: t.fill_(float("nan")), "has a scale that is not a number"),
    "gptq asymmetric act-order": ("int4-gptq-asymmetric", "g_idx", lambda t: t.copy_(t.flip(0)), "act-order"),
    "gptq act-order": ("int4-gptq", "g_idx", lambda t: t.copy_(t.flip(0)), "act-order"),
    "gptq scale": ("int4-gptq", "scales", lambda t: t.fill_(float("nan")), "not a number"),
    "packed shape": ("int4-compressed", "weight_shape", lambda t: t.copy_(t.flip(0)), "says [256, 128]"),
    "input scale zero": ("fp8-tensor", "input_scale", lambda t: t.fill_(0.0), "is 0, not a positive number"),
    "input scale nan": ("fp8-tensor", "input_scale", lambda t: t.fill_(float("nan")), "is nan, not a positive"),
    "input scale inf": ("fp8-tensor", "input_scale", lambda t: t.fill_(float("inf")), "is inf, not a positive"),
    "input scale negative": ("fp8-tensor", "input_scale", lambda t: t.fill_(-2.0), "is -2, not a positive"),
    "block scale": ("block128", "weight_scale", lambda t: t[0].fill_(float("inf")), "not a number"),
    "block scale negative": ("block128", "weight_scale", lambda t: t[0].fill_(-1.0), "negative"),
    "int4 scale": ("int4", "weight_scale", lambda t: t[3].fill_(float("inf")), "not a number"),
    "marlin scale": ("int4-marlin", "weight_scale", lambda t: t[1].fill_(float("nan")), "not a number"),
    "mxfp8 scale": ("mxfp8", "weight_scale", lambda t: t.view(torch.uint8)[5].fill_(0xFF), "not a number"),
    "nvfp4 scale": ("nvfp4", "weight_scale", lambda t: t.view(torch.uint8)[5].fill_(0x7F), "not a number"),
    "nvfp4 scale negative": ("nvfp4", "weight_scale", lambda t: t.view(torch.uint8)[5].fill_(0xB0), "negative"),
    "nvfp4 global": ("nvfp4", "weight_global_scale", lambda t: t.fill_(0.0), "is 0, not a positive number"),
}


@pytest.mark.parametrize("kind,end,change,words", HELD.values(), ids=HELD)
def test_what_only_the_values_show(kind, end, change, words, tmp_path):
    layer = made(kind)
    change(layer[end])
    checkpoint = open_checkpoint(put(tmp_path / "model.safetensors", layer))
    checkpoint.require("dit")
    with pytest.raises(CheckpointError) as error:
        checkpoint.load()
    problem = error.value.problem
    assert (problem.file, problem.key) == ("model.safetensors", f"{Q}.{end}")
    assert words in problem.cause
    assert problem.remedy.endswith(".")


def test_an_order_of_groups_that_is_too_short(tmp_path):
    layer = made("int4-gptq") | {"g_idx": torch.zeros(7, dtype=torch.int32)}
    with pytest.raises(CheckpointError, match="act-order"):
        open_checkpoint(put(tmp_path / "model.safetensors", layer)).load()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_name_longer_than_any(name, write):
    key = "x" * (limits.KEY_CHARS + 1)
    with pytest.raises(CheckpointError, match=r"x{40} \.\.\. is a name of 1025 characters; that of"):
        open_checkpoint(write({key: torch.zeros(1)}, name))
