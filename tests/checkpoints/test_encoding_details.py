"""What single encodings say beside codes and scales: static input scales, orders, versions, padding, calibration."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError, open_checkpoint

from .encoded import DIT, Q, dequantized, marker, put, weight

MX = ("mxfp4", "mxfp6", "mxfp8")


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
@pytest.mark.parametrize("kind", MX)
def test_scales_as_words_or_bytes(kind, dtype, tmp_path):
    layer = KINDS[kind](weight(130, 416))
    plain = put(tmp_path / "a.safetensors", layer).load().quantized[Q]
    layer["weight_scale"] = layer["weight_scale"].view(dtype)
    other = put(tmp_path / "b.safetensors", layer).load().quantized[Q]
    assert torch.equal(dequantized(plain), dequantized(other))


@pytest.mark.parametrize("kind", MX)
def test_what_a_writer_left_undefined_behind_the_scales_is_no_problem(kind, tmp_path):
    layer = KINDS[kind](weight(130, 416))
    clean = put(tmp_path / "a.safetensors", layer).load().quantized[Q]
    scales = layer["weight_scale"].view(torch.uint8)
    layer["weight_scale"] = scales.where(scales != 0, torch.full_like(scales, 0xFF)).view(torch.float8_e8m0fnu)
    loaded = put(tmp_path / "b.safetensors", layer).load().quantized[Q]
    assert torch.equal(loaded.tensors["scale"].view(torch.uint8), clean.tensors["scale"].view(torch.uint8))


@pytest.mark.parametrize("usual", MX)
@pytest.mark.parametrize("kind,k", [("mxfp4", 128), ("mxfp6", 256), ("mxfp6", 384), ("mxfp8", 64), ("mxfp8", 96)])
def test_small_layers_are_what_the_others_of_the_file_are(kind, k, usual, tmp_path):
    """Their scales are padded to one size: 64 columns may be mxfp8 or mxfp4 of 128 channels."""
    layer = {f"blocks.1.self_attn.k.{end}": tensor for end, tensor in KINDS[kind](weight(40, k)).items()}
    others = {f"{Q}.{end}": tensor for end, tensor in KINDS[usual](weight(40, 1024)).items()}
    tensors = {**DIT, **layer, **others}
    save_file(tensors, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    assert checkpoint.layers[Q].format == usual
    if kind == usual:
        found = checkpoint.load().quantized["blocks.1.self_attn.k"]
        assert (found.format, found.shape) == (kind, (40, k))


@pytest.mark.parametrize("kind", MX)
def test_a_scale_that_is_no_number_is_refused(kind, tmp_path):
    layer = KINDS[kind](weight(130, 416))
    layer["weight_scale"].view(torch.uint8)[0, 0] = 0xFF
    with pytest.raises(CheckpointError, match="not a number"):
        put(tmp_path / "model.safetensors", layer).load()


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
        layer = KINDS[kind](weight(128, 512))
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
