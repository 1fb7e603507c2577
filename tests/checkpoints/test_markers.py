"""Markers may say anything: each is read right or refused in a sentence, as is a name that its entries contradict."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from x2v_quant.checkpoints import CheckpointError, markers, open_checkpoint
from x2v_quant.checkpoints.encodings import MARKS
from x2v_quant.checkpoints.safetensors_header import DTYPES
from x2v_quant.formats import FORMATS

from .encoded import Q

NAMES = sorted({*MARKS, markers.FOUR_BITS, "mxfp9", ""})
ENTRIES = sorted({*markers.HARMLESS, markers.GROUP_SIZE, markers.SHAPE, "zero_point"} - {"format", "params"})
SIZES = st.sampled_from([0, 1, 4, 16, 32, 48, 64, 128, 256, 1024, 16.0, 64.0, 32.0, "64", "256", "16", -64, 10**30])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | SIZES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(st.sampled_from(ENTRIES), JSON | SIZES, max_size=4)
MARKERS = st.builds(
    lambda name, fields, params: {"format": name, **fields, **({} if params is None else {"params": params})},
    st.sampled_from(NAMES) | JSON,
    FIELDS,
    FIELDS | st.none() | JSON,
)


@settings(max_examples=500, deadline=None)
@given(entry=MARKERS | JSON)
def test_any_entry_is_a_format_or_a_fault(entry):
    marker = markers.from_entry(entry)
    assert (marker.format in MARKS) != bool(marker.fault)
    assert marker.fault.isprintable() and len(marker.fault) < 200


@settings(max_examples=60, deadline=None)
@given(entry=MARKERS, in_header=st.booleans(), dtype=st.sampled_from([torch.int8, torch.uint8, torch.float8_e4m3fn]))
def test_any_marked_layer_loads_or_is_refused_in_a_sentence(entry, in_header, dtype, tmp_path_factory):
    path = tmp_path_factory.mktemp("marked") / "model.safetensors"
    tensors = {"head.modulation": torch.zeros(1, 2, 8), f"{Q}.weight": torch.ones(8, 256).to(dtype)}
    tensors |= {f"{Q}.weight_scale": torch.full((8, 1), 0.01)}
    if in_header:
        save_file(tensors, path, {"_quantization_metadata": json.dumps({"layers": {Q: entry}})})
    else:
        told = torch.tensor(list(json.dumps(entry).encode()), dtype=torch.uint8)
        save_file({**tensors, f"{Q}.comfy_quant": told}, path)
    try:
        checkpoint = open_checkpoint(path)
        checkpoint.require("dit")
        (stored,) = checkpoint.load().quantized.values()
    except CheckpointError as error:
        assert str(error).isprintable()
    else:
        assert bool(stored.wrap(torch.float32).dequantize().isfinite().all())


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=9), dtype=st.sampled_from([name for name, _ in DTYPES.values()] + ["uint7", ""]))
def test_lightx2vs_tensor_of_any_type_is_a_format_or_a_fault(data, dtype):
    marker = markers.from_tensor(f"{Q}.convrot_groupsize", data, dtype)
    assert (marker.format in MARKS) != bool(marker.fault)


def one(value, dtype):
    return bytes(torch.tensor(value).to(dtype).view(1).view(torch.uint8).tolist())


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.int64, torch.float32, torch.bfloat16], ids=str)
def test_lightx2vs_tensor_is_one_number(dtype):
    name = str(dtype).removeprefix("torch.")
    assert markers.from_tensor("x.convrot_groupsize", one(64, dtype), name).format == "int8-convrot-64"
    assert markers.from_tensor("x.convrot_groupsize", one(63, dtype), name).fault


OWN = [name for name in FORMATS if name in MARKS]


@pytest.mark.parametrize("name", OWN)
def test_what_the_pack_writes_is_read(name):
    marker = markers.from_entry({"format": name, **FORMATS[name].settings})
    assert (marker.format, marker.fault) == (name, "")


@pytest.mark.parametrize("name", [name for name in OWN if FORMATS[name].rotation])
def test_a_rotated_name_that_its_entry_contradicts_is_refused(name):
    group = FORMATS[name].rotation
    for wrong in ({"convrot_groupsize": 4 * group}, {"params": {"convrot_groupsize": 4 * group}}, {"convrot": False}):
        assert name in markers.from_entry({"format": name, **wrong}).fault
    for right in ({"convrot_groupsize": float(group)}, {"convrot_groupsize": str(group)}, {"convrot": True}, {}):
        assert markers.from_entry({"format": name, **right}).format == name


CONTRADICTED = {
    "unrotated": ("int4-g128", {"convrot_groupsize": 64}, "with groups of 64 (convrot_groupsize)"),
    "groups of scales": ("w4a8-64", {"group_size": 32}, "with groups of 32"),
    "in params": ("mxfp8", {"params": {"group_size": 16}}, "with groups of 16"),
    "zero points": ("awq-w4a16-32", {"group_size": 64}, "with groups of 64"),
    "activations": ("convrot-w4a4-64", {"linear_dtype": "int8"}, "with linear_dtype int8"),
}


@pytest.mark.parametrize("name,entry,words", CONTRADICTED.values(), ids=CONTRADICTED)
def test_a_name_that_its_entry_contradicts_is_refused(name, entry, words):
    assert markers.from_entry({"format": name, **entry}).fault == f"is marked as {name} {words}"


def test_groups_that_are_no_whole_numbers_are_read_where_they_are_equal():
    assert markers.from_entry({"format": "awq_w4a16", "group_size": 32.0}).format == "awq-w4a16-32"
    assert markers.from_entry({"format": "awq_w4a16", "group_size": 32.5}).fault
