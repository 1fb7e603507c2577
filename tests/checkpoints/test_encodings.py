"""Every encoding is read as the weight that its file means, which is worked out here value by value."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import ENCODINGS
from x2v_quant.formats import FORMATS

Q = "blocks.1.self_attn.q"
# kind of benchmarks.quantize -> format, error of Gaussian weights, the multiples that N and K have to be of
READ_AS = {
    "int8": ("int8-channel", 0.02, 1, 1),
    "fp8": ("fp8-channel", 0.04, 1, 1),
    "fp8-tensor": ("fp8-tensor", 0.04, 1, 1),
    "block128": ("fp8-block128", 0.04, 1, 1),
    "mxfp8": ("mxfp8", 0.04, 1, 32),
    "nvfp4": ("nvfp4", 0.15, 1, 16),
    "int4": ("int4-g128", 0.2, 1, 2),
    "int4-compressed": ("int4-g128", 0.2, 1, 8),
    "int4-gptq": ("int4-g128", 0.2, 8, 8),
    "int4-marlin": ("int4-g128-marlin", 0.2, 64, 128),
}
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
BLOCK = 128
DIT = {"head.modulation": torch.zeros(1, 2, 8), "blocks.0.self_attn.q.weight": torch.zeros(8, 8)}


def tiled_byte(scale, n, block):
    """The byte for row n and block `block` of scales in the tensor cores' order."""
    bytes_ = scale.view(torch.uint8).flatten()
    tiles = scale.view(torch.uint8).shape[1] // 4
    return int(bytes_[(n // 128 * tiles + block // 4) * 512 + n % 32 * 16 + n % 128 // 32 * 4 + block % 4])


def e4m3(byte):
    return float(torch.tensor(byte, dtype=torch.uint8).view(torch.float8_e4m3fn))


def scaled(t, n, k):
    scale = t["weight_scale"].float().flatten()
    return float(t["weight"][n, k].float() * scale[n % scale.numel()])


def block128(t, n, k):
    return float(t["weight"][n, k].float() * t["weight_scale"][n // 128, k // 128])


def mxfp8(t, n, k):
    return e4m3(int(t["weight"][n, k])) * 2.0 ** (tiled_byte(t["weight_scale"], n, k // 32) - 127)


def nvfp4(t, n, k):
    code = int(t["weight"][n, k // 2]) >> 4 * (k % 2) & 15
    value = E2M1[code & 7] * (-1 if code & 8 else 1)
    return value * e4m3(tiled_byte(t["weight_scale"], n, k // 16)) / float(t["weight_global_scale"])


def nibble(word, place):
    return (int(word) >> 4 * place & 15) - 8


def int4(t, n, k):
    return nibble(t["weight"][n, k // 2], k % 2) * float(t["weight_scale"][n, k // 128])


def compressed(t, n, k):
    return nibble(t["weight_packed"][n, k // 8], k % 8) * float(t["weight_scale"][n, k // 128])


def gptq(t, n, k):
    return nibble(t["qweight"][k // 8, n], k % 8) * float(t["scales"][k // 128, n])


def marlin(t, n, k):
    """As a thread of a warp finds it: 16 x 64 codes in 128 words, four words of four times 16 columns to a thread."""
    thread = n % 8 * 4 + k % 8 // 2
    word = t["weight"][k // 16, n // 64 * 128 + 4 * thread + n % 64 // 16]
    scales = t["weight_scale"][k // 128]
    if t["weight_scale"].shape[0] == 1:
        place = n // 32 * 32 + [2 * i + j for i in range(4) for j in (0, 1, 8, 9, 16, 17, 24, 25)].index(n % 32)
    else:
        place = n // 64 * 64 + n % 8 * 8 + n % 64 // 8
    return nibble(word, k % 2 * 4 + n % 16 // 8 * 2 + k % 16 // 8) * float(scales[place])


MEANS = {
    "int8": scaled,
    "fp8": scaled,
    "fp8-tensor": scaled,
    "block128": block128,
    "mxfp8": mxfp8,
    "nvfp4": nvfp4,
    "int4": int4,
    "int4-compressed": compressed,
    "int4-gptq": gptq,
    "int4-marlin": marlin,
}


def weight(n, k, seed=0):
    return torch.randn((n, k), generator=torch.Generator().manual_seed(seed))


def put(path, layer, metadata=None):
    """A file with one quantized layer and its checkpoint. layer: tensors by the end of their name."""
    save_file({**DIT, **{f"{Q}.{end}": t.contiguous() for end, t in layer.items()}}, path, metadata)
    return open_checkpoint(path)


def dequantized(loaded):
    return loaded.wrap(torch.float32).dequantize()[: loaded.shape[0]]


def marker(name, **entries):
    return torch.tensor(list(json.dumps({"format": name, **entries}).encode()), dtype=torch.uint8)


def test_every_kind_of_file_is_listed():
    assert READ_AS.keys() == KINDS.keys() == MEANS.keys()
    # tests/checkpoints/test_smooth.py has the smoothed ones, test_convrot.py those that only a marker tells
    plain = {name for name, row in FORMATS.items() if not row.smooth}
    # tests/converting/test_round_trip.py has every one that is written
    assert plain - {"fp8-reduced"} <= {row.format for row in ENCODINGS if row.dialects}
    assert {name for name, *_ in READ_AS.values()} <= plain


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_weight_is_what_the_file_means(kind, data, tmp_path_factory):
    name, error, n_multiple, k_multiple = READ_AS[kind]
    # a single block is a single scale, which a layer of fp8-channel may have as well
    least = BLOCK + 1 if kind == "block128" else 1
    n = n_multiple * data.draw(st.integers(least, max(2, 300 // n_multiple)), "n")
    k = k_multiple * data.draw(st.integers(1, max(2, 400 // k_multiple)), "k")
    original = weight(n, k)
    layer = KINDS[kind](original)
    checkpoint = put(tmp_path_factory.mktemp(kind) / "model.safetensors", layer)
    checkpoint.require("dit")
    assert checkpoint.formats == {name: 1}
    loaded = checkpoint.load().quantized[Q]
    assert (loaded.format, loaded.shape, tuple(loaded.tensors)) == (name, (n, k), FORMATS[name].tensors)
    got = dequantized(loaded)[:, :k]
    assert (got - original).norm() < error * original.norm() + 1e-6
    for _ in range(20):
        row, column = data.draw(st.integers(0, n - 1)), data.draw(st.integers(0, k - 1))
        assert math.isclose(float(got[row, column]), MEANS[kind](layer, row, column), rel_tol=1e-6, abs_tol=1e-12)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("n,k", [(128, 256), (192, 128)])
def test_what_core_saves_of_every_format_is_read_again(name, n, k, tmp_path):
    """ModelSave writes the layout's own tensors, what else a layer of the format has, and the marker."""
    told = FORMATS[name].settings
    k = max(k, told.get("convrot_groupsize", k))
    stored = FORMATS[name].quantize(weight(n, k), torch.bfloat16)
    layer = {"comfy_quant": marker(FORMATS[name].marker_of(stored._params), **told), **stored.state_dict("weight")}
    for end in {"input_scale", "pre_quant_scale"} & {*FORMATS[name].tensors}:
        layer[end] = getattr(stored._params, end)
    checkpoint = put(tmp_path / "model.safetensors", layer)
    checkpoint.require("dit")
    loaded = checkpoint.load().quantized[Q]
    assert loaded.format == name.replace("reduced", "channel")
    assert loaded.shape == (n, k)
    for (role, tensor), expected in zip(
        loaded.tensors.items(), FORMATS[name].parts(stored._qdata, stored._params), strict=True
    ):
        assert (role, tensor.dtype, tensor.shape) == (role, expected.dtype, expected.shape)
        assert torch.equal(tensor.flatten().view(torch.uint8), expected.flatten().view(torch.uint8))


@pytest.mark.parametrize("name,k", [("mxfp8", 64), ("nvfp4", 48)])
def test_rows_that_core_padded_are_told_by_the_bias(name, k, tmp_path):
    original = weight(40, k)
    stored = FORMATS[name].quantize(original, torch.float32)
    layer = {**stored.state_dict("weight"), "bias": torch.zeros(40), "comfy_quant": marker(name)}
    loaded = put(tmp_path / "model.safetensors", layer).load().quantized[Q]
    assert loaded.shape == (40, k)
    assert torch.equal(dequantized(loaded), stored.dequantize()[:40])


@pytest.mark.parametrize("name,size", [("mxfp8", 32), ("nvfp4", 16)])
def test_what_core_padded_is_told_by_the_marker_of_other_tools(name, size, tmp_path):
    original = weight(40, 50)
    stored = FORMATS[name].quantize(original, torch.float32)
    entries = {"group_size": size, "orig_dtype": "torch.bfloat16", "orig_shape": [40, 50]}
    layer = {**stored.state_dict("weight"), "comfy_quant": marker(name, **entries)}
    loaded = put(tmp_path / "a.safetensors", layer).load().quantized[Q]
    assert loaded.shape == (40, 50)
    assert torch.equal(dequantized(loaded), stored.dequantize()[:40])
    for wrong, words in (({"group_size": 64}, "groups of 64"), ({"orig_shape": [40, 90]}, f"marked as {name}")):
        layer["comfy_quant"] = marker(name, **{**entries, **wrong})
        (problem,) = put(tmp_path / "b.safetensors", layer).problems
        assert words in problem.cause


@pytest.mark.parametrize("input_scale", [0.25, 2.0])
@pytest.mark.parametrize("scale", [(), (1,), (1, 1), (8,), (8, 1), (1, 8)])
@pytest.mark.parametrize("end", ["input_scale", "scale_input"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_static_input_scale_makes_fp8_tensor(input_scale, scale, end, marked, tmp_path):
    layer = {
        "weight": weight(8, 16).to(torch.float8_e4m3fn),
        "weight_scale": torch.rand(scale) + 0.1,
        end: torch.tensor(input_scale),
    } | ({"comfy_quant": marker("float8_e4m3fn")} if marked else {})
    checkpoint = put(tmp_path / "model.safetensors", layer)
    loaded = checkpoint.load().quantized[Q]
    assert loaded.format == "fp8-tensor"
    assert loaded.tensors["input_scale"].tolist() == [input_scale]
    assert torch.equal(dequantized(loaded), layer["weight"].float() * layer["weight_scale"].reshape(-1, 1))
    assert checkpoint.notes[0].startswith("1 static input scales: ")


@pytest.mark.parametrize("value", [1.0, None])
def test_an_input_scale_that_nobody_measured_is_none(value, tmp_path):
    """Core drops a `scale_input` of 1, and this pack saves an empty one under its own marker."""
    layer = {"weight": weight(8, 16).to(torch.float8_e4m3fn), "weight_scale": torch.tensor(0.5)}
    layer["input_scale"] = torch.empty(0) if value is None else torch.tensor(value)
    if value is None:
        layer["comfy_quant"] = marker("fp8-tensor")
    loaded = put(tmp_path / "model.safetensors", layer).load().quantized[Q]
    assert (loaded.format, loaded.tensors["input_scale"].tolist()) == ("fp8-tensor", [])


@pytest.mark.parametrize("ones", [{}, {"comfy_quant": marker("float8_e4m3fn")}])
def test_fp8_without_an_input_scale_stays_per_channel(ones, tmp_path):
    layer = {"weight": weight(8, 16).to(torch.float8_e4m3fn), "weight_scale": torch.tensor(0.5), **ones}
    loaded = put(tmp_path / "model.safetensors", layer).load().quantized[Q]
    assert (loaded.format, loaded.tensors["scale"].shape) == ("fp8-channel", (8, 1))


def test_deepseeks_scale_inv_multiplies(tmp_path):
    layer = KINDS["block128"](weight(200, 130))
    layer["weight_scale_inv"] = layer.pop("weight_scale").to(torch.bfloat16)
    loaded = put(tmp_path / "model.safetensors", layer).load().quantized[Q]
    assert loaded.tensors["scale"].dtype == torch.float32
    assert torch.equal(loaded.tensors["scale"], layer["weight_scale_inv"].float())


@pytest.mark.parametrize("kind", ["int4-gptq", "int4-compressed"])
def test_a_model_without_any_tensor_called_weight_is_recognised(kind, tmp_path):
    tensors = {f"{Q}.{end}": tensor for end, tensor in KINDS[kind](weight(16, 128)).items()}
    save_file({"head.modulation": torch.zeros(1, 2, 8), **tensors}, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    checkpoint.require("dit")
    assert (checkpoint.model, list(checkpoint.layers)) == ("Wan 2.1 t2v", [Q])


def test_gptq_of_both_versions(tmp_path):
    layer = KINDS["int4-gptq"](weight(16, 256))
    first = put(tmp_path / "v1.safetensors", layer).load().quantized[Q]
    layer["qzeros"] = torch.full_like(layer["qzeros"], -0x77777778)  # eights
    second = put(tmp_path / "v2.safetensors", layer).load().quantized[Q]
    del layer["g_idx"]
    third = put(tmp_path / "v3.safetensors", layer).load().quantized[Q]
    assert torch.equal(first.tensors["codes"], second.tensors["codes"])
    assert torch.equal(first.tensors["codes"], third.tensors["codes"])


@pytest.mark.parametrize("order", [torch.arange(256) // 128, torch.full((256,), -1)])
def test_compressed_tensors_that_are_in_order(order, tmp_path):
    layer = KINDS["int4-compressed"](weight(8, 256)) | {"weight_g_idx": order.int()}
    assert put(tmp_path / "model.safetensors", layer).load().quantized[Q].format == "int4-g128"


@pytest.mark.parametrize("dtype,asked", [(torch.uint8, True), (torch.float8_e8m0fnu, False)])
def test_core_is_not_asked_for_a_type_that_it_cannot_stream(dtype, asked, tmp_path):
    layer = KINDS["mxfp8"](weight(32, 64))
    layer["weight_scale"] = layer["weight_scale"].view(dtype)
    checkpoint = put(tmp_path / "model.safetensors", layer)
    files = []
    checkpoint.load(lambda file: files.append(file) or load_file(file))
    assert files == (checkpoint.files if asked else [])


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_mxfp8s_scales_as_words_or_bytes(dtype, tmp_path):
    layer = KINDS["mxfp8"](weight(130, 160))
    plain = put(tmp_path / "a.safetensors", layer).load().quantized[Q]
    layer["weight_scale"] = layer["weight_scale"].view(dtype)
    other = put(tmp_path / "b.safetensors", layer).load().quantized[Q]
    assert torch.equal(dequantized(plain), dequantized(other))


def test_what_a_writer_left_undefined_behind_the_scales_is_no_problem(tmp_path):
    layer = KINDS["mxfp8"](weight(130, 160))
    clean = put(tmp_path / "a.safetensors", layer).load().quantized[Q]
    scales = layer["weight_scale"].view(torch.uint8)
    layer["weight_scale"] = scales.where(scales != 0, torch.full_like(scales, 0xFF)).view(torch.float8_e8m0fnu)
    loaded = put(tmp_path / "b.safetensors", layer).load().quantized[Q]
    assert torch.equal(loaded.tensors["scale"].view(torch.uint8), clean.tensors["scale"].view(torch.uint8))


def test_nvfp4_that_was_calibrated(tmp_path):
    """alpha = 1 / (input_global_scale * weight_global_scale) has the weight's scale in it."""
    layer = KINDS["nvfp4"](weight(32, 64))
    expected = dequantized(put(tmp_path / "a.safetensors", layer).load().quantized[Q])
    of_input = torch.tensor([37.5])
    alpha = 1 / (of_input * layer.pop("weight_global_scale"))
    checkpoint = put(tmp_path / "b.safetensors", {**layer, "input_global_scale": of_input, "alpha": alpha})
    checkpoint.require("dit")
    torch.testing.assert_close(dequantized(checkpoint.load().quantized[Q]), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "kind,more,words",
    [
        ("nvfp4", {"input_absmax": torch.ones(1)}, "1 calibrated input scales ignored"),
        ("block128", {"input_scale": torch.ones(())}, "1 static input scales ignored"),
        ("int4-marlin", {}, None),
    ],
)
def test_what_is_passed_over_is_said_and_counted(kind, more, words, tmp_path):
    checkpoint = put(tmp_path / "model.safetensors", {**KINDS[kind](weight(128, 256)), **more})
    checkpoint.require("dit")
    assert [note[: len(words or "")] for note in checkpoint.notes] == ([words] if words else [])
    ends = {key.rpartition(".")[2] for key in checkpoint.layers[Q].stored.all_keys}
    assert ends == {*KINDS[kind](weight(128, 256)), *more}
    assert set(checkpoint.load().plain) == set(DIT)


@pytest.mark.parametrize(
    "metadata,words",
    [
        ({"quantization_profile": "h3-fp8-f16-accum", "weight_qmax": "14.0"}, "'h3-fp8-f16-accum'): codes up to 14 in"),
        ({"quantization_profile": "x", "weight_qmax": "many"}, "(profile 'x') in the layers"),
        ({"quantization_profile": "x"}, "(profile 'x') in the layers"),
    ],
)
def test_a_file_for_fp16_accumulation_is_ordinary_fp8(metadata, words, tmp_path):
    checkpoint = put(tmp_path / "model.safetensors", KINDS["fp8"](weight(16, 32)), metadata)
    checkpoint.require("dit")
    assert checkpoint.formats == {"fp8-channel": 1}
    (note,) = checkpoint.notes
    assert words in note


def test_the_codes_of_a_pth_need_not_be_contiguous(tmp_path):
    for kind in KINDS:
        layer = KINDS[kind](weight(128, 256))
        strided = {end: t.t().contiguous().t() if t.ndim == 2 else t for end, t in layer.items()}
        loaded = []
        for name, tensors in (("a.pth", layer), ("b.pth", strided)):
            torch.save({**DIT, **{f"{Q}.{end}": t for end, t in tensors.items()}}, tmp_path / name)
            loaded.append(open_checkpoint(tmp_path / name).load().quantized[Q])
        assert torch.equal(dequantized(loaded[0]), dequantized(loaded[1])), kind


@pytest.mark.parametrize("end", ["", "base_layer."])
@pytest.mark.parametrize("order", [None, 0])
def test_int8_of_bitsandbytes(order, end, tmp_path):
    """The largest value of a row stands beside its codes; PEFT puts a word before both."""
    original = weight(16, 32)
    largest = original.float().abs().amax(dim=1)
    codes = (original.float() / largest[:, None] * 127).round().to(torch.int8)
    layer = {"weight": codes, "SCB": largest}
    if order is not None:
        layer["weight_format"] = torch.tensor(order, dtype=torch.uint8)
    save_file({**DIT, **{f"{Q}.{end}{name}": tensor for name, tensor in layer.items()}}, tmp_path / "m.safetensors")
    loaded = open_checkpoint(tmp_path / "m.safetensors").load().quantized[Q]
    found = loaded.wrap(torch.float32).dequantize()
    torch.testing.assert_close(found, codes.float() * largest[:, None] / 127)
