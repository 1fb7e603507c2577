"""Headers, whole and broken."""

import json

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.safetensors_header import DTYPES, read_header

SOUND = save({"a.weight": torch.zeros(4, 3, dtype=torch.int8), "a.weight_scale": torch.ones(4, 1)}, {"k": "v"})

# hypothesis makes many examples with one tmp_path, each overwrites the file
one_folder = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def file(tmp_path, data, name="model.safetensors"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def with_header(header, data=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_what_safetensors_writes(tmp_path):
    contents = read_header(file(tmp_path, SOUND))
    weight = contents.tensors["a.weight"]
    assert (weight.shape, weight.dtype, weight.nbytes) == ((4, 3), "int8", 12)
    assert contents.tensors["a.weight_scale"].dtype == "float32"
    assert contents.metadata == {"k": "v"}


@pytest.mark.parametrize("dtype", [d for d, bits in DTYPES.values() if hasattr(torch, d) and bits >= 8])
def test_dtypes_are_named_as_torch_names_them(dtype, tmp_path):
    tensor = torch.zeros(2, 2, dtype=torch.uint8).repeat(1, 8).view(getattr(torch, dtype))
    info = read_header(file(tmp_path, save({"x": tensor}))).tensors["x"]
    assert (info.dtype, info.shape, info.nbytes) == (dtype, tuple(tensor.shape), tensor.nbytes)


def test_markers_are_read_and_weights_are_not(tmp_path):
    tensors = {"a.weight": torch.zeros(4), "a.comfy_quant": torch.tensor(list(b"{}"), dtype=torch.uint8)}
    tensors["b.comfy_quant"] = torch.zeros(10_000, dtype=torch.uint8)
    assert read_header(file(tmp_path, save(tensors))).markers == {"a.comfy_quant": b"{}", "b.comfy_quant": b""}


@pytest.mark.parametrize(
    "data,words",
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Not found</html>" * 5, "is a web page, not a model. Download the file itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(100), "is cut off: it begins like a PyTorch file .* Download it again"),
        (b"GGUF" + bytes(100), "ComfyUI-GGUF"),
        (b"\xff" * 100, "is not a safetensors file"),
        (SOUND[:40], "is cut off inside its header"),
        (SOUND[:-1], "is cut off: 27 of 28 bytes of weights are there. Download it again"),
        (SOUND + b"x", "has 1 bytes after its last tensor"),
        (with_header([]), "no table of tensors"),
        (b"\x02\0\0\0\0\0\0\0{x", "is no JSON"),
        (b"\x00\x01\0\0\0\0\0\0" + b"[" * 256, "is no JSON"),
        (b"\x12\0\0\0\0\0\0\0" + '{"a": 1}'.encode("utf-16"), "is no JSON"),
        (b"\x0a\0\0\0\0\0\0\0" + b'{"a": NaN}', "is no JSON"),
        (with_header({"__metadata__": {"a": "\ud800"}}), "__metadata__ has half a character"),
        (with_header({"__metadata__": {"\udfff": "a"}}), "__metadata__ has half a character"),
        (with_header({"__metadata__": {"a": 1}}), "__metadata__ is no table of texts"),
        (with_header({"bad\x1bkey": {}}), "no table of tensors"),
        (with_header({"a": []}), "a has no valid dtype"),
        (with_header({"a": {"dtype": 3, "shape": [], "data_offsets": [0, 0]}}), "a has no valid dtype"),
        (with_header({"a": {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]}}, bytes(4)), "no valid"),
        (with_header({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, bytes(4)), "no valid"),
        (with_header({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(4)), "no valid"),
        (with_header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "not F32"),
        (with_header({"a": {"dtype": "I8", "shape": [0], "data_offsets": [4, 2]}}, bytes(4)), "not I8"),
        (with_header({"a": {"dtype": "I8", "shape": [2], "data_offsets": [2, 4]}}, bytes(4)), "a hole or an overlap"),
        (
            with_header(
                {
                    "a": {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]},
                    "b": {"dtype": "I8", "shape": [4], "data_offsets": [2, 6]},
                },
                bytes(6),
            ),
            "a hole or an overlap",
        ),
    ],
)
def test_refusals(data, words, tmp_path):
    with pytest.raises(CheckpointError, match=words) as error:
        open_checkpoint(file(tmp_path, data))
    assert str(error.value).startswith("model.safetensors")


@one_folder
@given(data=st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda b: len(b).to_bytes(8, "little") + b)))
def test_garbage_gives_nothing_but_checkpoint_errors(data, tmp_path):
    with pytest.raises(CheckpointError):
        open_checkpoint(file(tmp_path, data))


@one_folder
@given(end=st.integers(0, len(SOUND) - 1))
def test_a_truncated_file_is_always_refused(end, tmp_path):
    with pytest.raises(CheckpointError, match=r"cut off|empty|not a safetensors"):
        open_checkpoint(file(tmp_path, SOUND[:end]))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.text(max_size=8)
    | st.sampled_from(["F32", "I8", "F8_E4M3"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
names = st.sampled_from(
    ["__metadata__", "a.weight", "a.weight_scale", "a.comfy_quant", "scaled_fp8", ".weight", "weight", ""]
)
sizes = st.lists(st.integers(0, 4), max_size=3)
entries = st.fixed_dictionaries(
    {"dtype": st.sampled_from([*DTYPES, "F7"]), "shape": sizes, "data_offsets": sizes | st.just([0, 4])}
)


@one_folder
@given(
    header=st.dictionaries(names | st.text(max_size=8), json_values | entries, max_size=5), data=st.binary(max_size=16)
)
def test_any_json_header_is_read_or_refused(header, data, tmp_path):
    path = file(tmp_path, with_header(header, data))
    try:
        checkpoint = open_checkpoint(path)
    except CheckpointError:
        return
    assert set(checkpoint.tensors) == set(header) - {"__metadata__"}
    for problem in checkpoint.problems:
        assert problem.file == "model.safetensors"
        assert str(problem)


tensor_names = st.lists(
    st.tuples(
        st.sampled_from(
            ["", "a.", "model.diffusion_model.a.", "blocks.0.attn.q.", "visual.transformer.0.attn.to_qkv.", "textual."]
        ),
        st.sampled_from(
            [
                "weight",
                "bias",
                "weight_scale",
                "scale_weight",
                "weight_scale_2",
                "comfy_quant",
                "input_scale",
                "qweight",
                "x",
            ]
        ),
        st.sampled_from([torch.int8, torch.uint8, torch.int32, torch.float8_e4m3fn, torch.float8_e5m2, torch.float16]),
        st.sampled_from([(), (1,), (4,), (4, 1), (4, 4), (6, 4), (1, 1), (4, 4, 1)]),
    ),
    max_size=8,
)
layer_marks = st.dictionaries(st.sampled_from(["a", "textual", "", "b"]), json_values, max_size=3)


@one_folder
@given(chosen=tensor_names, marks=layer_marks)
@example(chosen=[("textual.", "weight", torch.int8, (4, 1)), ("textual.", "weight_scale", torch.float16, ())], marks={})
def test_any_tensors_are_sorted_without_an_accident(chosen, marks, tmp_path):
    """Every tensor ends as a layer's part, as kept, as dropped or in a problem; the sound ones load."""
    tensors = {layer + end: torch.zeros(shape, dtype=dtype) for layer, end, dtype, shape in chosen}
    path = file(tmp_path, save(tensors, {"_quantization_metadata": json.dumps({"layers": marks})}))
    if not tensors:
        return
    checkpoint = open_checkpoint(path)
    taken = {key for layer in checkpoint.layers.values() for key in layer.stored.all_keys}
    assert not taken & set(checkpoint.kept)
    for layer in checkpoint.layers.values():
        assert checkpoint.tensors[layer.weight_key].dtype in ("int8", "float8_e4m3fn", "float8_e5m2")
    if not checkpoint.problems:
        weights = checkpoint.load()
        assert weights.quantized.keys() == checkpoint.layers.keys()
        assert not any(t.dtype in (torch.int8, torch.float8_e4m3fn) for t in weights.plain.values())
