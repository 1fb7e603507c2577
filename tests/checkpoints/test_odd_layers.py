"""Layers of any tensors, dtypes and sizes: refused in a sentence, or whole, and at no cost."""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from one_layer import Q, made, marker, put

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.encodings import CODES, ENCODINGS, MARKS
from x2v_quant.formats import FORMATS

ENDS = sorted({end for row in ENCODINGS for role in row.tensors.values() for end in role.ends} | {"weight_workspace"})
DTYPES = [
    torch.uint8,
    torch.int8,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.float32,
    torch.float8_e4m3fn,
    torch.float8_e8m0fnu,
    torch.float8_e5m2,
]
# sizes that the formats are made of, and their neighbours
SIZES = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 31, 32, 64, 128, 129])
ODD = st.builds(
    lambda shape, dtype: (
        torch.arange(max(1, torch.Size(shape).numel()))
        .to(torch.uint8)[: torch.Size(shape).numel()]
        .view(shape)
        .to(dtype)
    ),
    st.lists(SIZES, max_size=3),
    st.sampled_from(DTYPES),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from([None, *KINDS]),
    changes=st.dictionaries(st.sampled_from(ENDS), st.none() | ODD, max_size=4),
    mark=st.none() | st.sampled_from(sorted(MARKS)),
)
def test_odd_layers_are_refused_or_whole(kind, changes, mark, tmp_path):
    layer = (made(kind) if kind else {}) | changes
    if mark is not None:
        layer["comfy_quant"] = marker(mark)
    checkpoint = open_checkpoint(put(tmp_path / "model.safetensors", layer))
    try:
        checkpoint.require("dit")
        stored = checkpoint.load().quantized[Q]
    except CheckpointError as error:
        assert error.problem.remedy.endswith(".")
        return
    assert tuple(stored.tensors) == FORMATS[stored.format].tensors
    n, k = stored.shape
    weight = stored.wrap(torch.float32).dequantize()
    assert weight.shape[0] >= n
    assert weight.shape[1] >= k


@pytest.mark.parametrize("end", CODES)
def test_hostile_sizes_cost_nothing(end, tmp_path):
    """No bytes behind it, so that only the headers are looked at."""
    header = {f"{Q}.{end}": {"dtype": "U8", "shape": [0, 2**62], "data_offsets": [0, 0]}}
    for other, dtype in (("weight_scale", "F32"), ("scales", "F16"), ("qzeros", "I32"), ("weight_shape", "I64")):
        header[f"{Q}.{other}"] = {"dtype": dtype, "shape": [2**62, 0], "data_offsets": [0, 0]}
    header["head.modulation"] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    checkpoint = open_checkpoint(path)
    assert any(problem.key == f"{Q}.{end}" for problem in checkpoint.problems)
