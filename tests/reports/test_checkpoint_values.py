"""What inspect finds in small tensors is what loading finds there: by one function, so that they cannot disagree."""

import logging

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.models import WanSize, write_pair
from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.loading.dit import load_dit
from x2v_quant.reports.checkpoint import inspect, lines

LAYER = "blocks.0.self_attn.q"
SIZE = WanSize(256, 512, 2, 64)


@pytest.fixture(scope="module")
def wan(tmp_path_factory):
    """wan(kind) -> the tensors of a small Wan, free to change"""
    folder = tmp_path_factory.mktemp("wan")
    files = {}

    def tensors(kind):
        if kind not in files:
            files[kind] = load_file(write_pair(folder, SIZE, kind)[1])
        return {key: tensor.clone() for key, tensor in files[kind].items()}

    return tensors


@pytest.fixture
def told(tmp_path):
    """told(tensors, metadata) -> (the problem that inspect finds, what loading raises), both as texts, or None"""

    def both(tensors, metadata=None):
        path = tmp_path / "model.safetensors"
        save_file(tensors, path, metadata)
        problems = inspect(path)["problems"]
        try:
            load_dit(str(path))
        except CheckpointError as error:
            return problems[0] if problems else None, str(error)
        return problems[0] if problems else None, None

    return both


# kind of file, what the scale's name ends in, change of it -> words of the cause
SCALES = {
    "NaN": ("fp8", "weight_scale", lambda t: t[3].fill_(float("nan")), "negative or not a number"),
    "infinite": ("int8", "weight_scale", lambda t: t[-1].fill_(float("inf")), "negative or not a number"),
    "negative": ("fp8", "weight_scale", lambda t: t[0].fill_(-1.0), "negative or not a number"),
    "one of zero": ("int8", "weight_scale", lambda t: t[5].zero_(), "is zero for weights that are not"),
    "all of zero": ("fp8", "weight_scale", lambda t: t.zero_(), "is zero for weights that are not"),
    "zero, fp8-tensor": ("fp8-tensor", "weight_scale", lambda t: t.zero_(), "is zero for weights that are not"),
    "zero, static": ("fp8-tensor", "input_scale", lambda t: t.zero_(), "is 0, not a positive number"),
    "zero, block": ("block128", "weight_scale", lambda t: t[0].zero_(), "is zero for weights that are not"),
    "NaN, block": ("block128", "weight_scale", lambda t: t[0].fill_(float("nan")), "not a number"),
    "zero, int4": ("int4", "weight_scale", lambda t: t[7].zero_(), "is zero for weights that are not"),
    "zero, gptq": ("int4-gptq", "scales", lambda t: t[0, 9].zero_(), "is zero for weights that are not"),
    "zero, marlin": ("int4-marlin", "weight_scale", lambda t: t[0, 3].zero_(), "is zero for weights that are not"),
    "zero, mxfp8": ("mxfp8", "weight_scale", lambda t: t.view(torch.uint8).zero_(), "is zero for weights that are not"),
    "zero, nvfp4": ("nvfp4", "weight_scale", lambda t: t.view(torch.uint8).zero_(), "is zero for weights that are not"),
    "NaN, nvfp4": ("nvfp4", "weight_scale", lambda t: t.view(torch.uint8)[0].fill_(0x7F), "not a number"),
    "zero for all, nvfp4": ("nvfp4", "weight_global_scale", lambda t: t.zero_(), "is 0, not a positive number"),
}


@pytest.mark.parametrize("kind,end,change,words", SCALES.values(), ids=SCALES)
def test_a_scale_that_gives_noise_is_a_problem_to_both(kind, end, change, words, wan, told):
    tensors = wan(kind)
    change(tensors[f"{LAYER}.{end}"])
    problem, error = told(tensors)
    assert problem["key"] == f"{LAYER}.{end}"
    assert words in problem["cause"]
    assert f"model.safetensors: {problem['key']} {problem['cause']}. {problem['remedy']}" == error


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "int4-compressed"])
def test_a_scale_of_zero_over_zeros_is_sound(kind, tmp_path):
    """As the rows of a layer that starts out at zero."""
    # wide enough for mxfp6 to be told
    weight = torch.randn(128, 512)
    weight[:16] = 0
    layer = KINDS[kind](weight)
    if kind in ("int8", "fp8", "block128"):
        layer["weight_scale"].view(-1)[:16].zero_()
        layer["weight"][: 16 if kind != "block128" else 128].zero_()
    path = tmp_path / "model.safetensors"
    save_file({"head.modulation": torch.zeros(8), **{f"{LAYER}.{end}": part for end, part in layer.items()}}, path)
    assert LAYER in open_checkpoint(path).load().quantized


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.bool])
@pytest.mark.parametrize(
    "key", ["blocks.0.norm3.weight", "blocks.1.ffn.0.bias", "head.head.weight", "blocks.0.modulation"]
)
def test_a_weight_that_is_typed_as_integers_is_refused(key, dtype, wan, told):
    tensors = wan("fp8")
    tensors[key] = torch.ones_like(tensors[key]).to(dtype)
    problem, error = told(tensors)
    assert problem["key"] == key
    assert str(dtype).removeprefix("torch.") in problem["cause"]
    assert error.startswith(f"model.safetensors: {key} has dtype ")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("key", ["blocks.0.norm3.weight", "blocks.1.ffn.0.bias", "head.modulation"])
def test_a_norm_that_is_no_number_is_told_by_both(key, value, wan, tmp_path, caplog):
    tensors = wan("int8")
    tensors[key].view(-1)[2] = value
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    (note,) = inspect(path)["notes"]
    assert note.startswith(f"{key} contains {'NaN' if value != value else 'infinity'}: ")
    with caplog.at_level(logging.WARNING, logger="x2v-quant"):
        plan = load_dit(str(path)).model.x2v_plan
    assert note in plan.notes
    assert f"model.safetensors, scheme auto: {note}" in caplog.text or note in caplog.text


def test_what_was_not_looked_at_is_said(wan, tmp_path):
    tensors = wan("fp8") | {"text_embedding.0.weight": torch.zeros(256, 4096)}
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    report = inspect(path)
    assert report["unread"] == {"tensors": 1, "bytes": 4 * 256 * 4096}
    assert "not checked: the codes, and the values of 1 large tensor (4.19 MB)" in lines(report)
