"""Every encoding is read as the weight that its file means, which is worked out here value by value."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints.encodings import ENCODINGS
from x2v_quant.formats import FORMATS

from .encoded import Q, dequantized, marker, put, weight

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


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


def mxfp4(t, n, k):
    code = int(t["weight"][n, k // 2]) >> 4 * (k % 2) & 15
    return E2M1[code & 7] * (-1 if code & 8 else 1) * 2.0 ** (tiled_byte(t["weight_scale"], n, k // 32) - 127)


def mxfp6(t, n, k):
    """Four codes in 24 bits, the first in the lowest."""
    word = int.from_bytes(bytes(t["weight"][n, k // 4 * 3 : k // 4 * 3 + 3].tolist()), "little")
    code = word >> 6 * (k % 4) & 63
    exponent, mantissa = code >> 2 & 7, code & 3
    value = (mantissa / 4 + (exponent > 0)) * 2.0 ** (max(exponent, 1) - 3)
    return value * (-1 if code & 32 else 1) * 2.0 ** (tiled_byte(t["weight_scale"], n, k // 32) - 127)


def nvfp4(t, n, k):
    code = int(t["weight"][n, k // 2]) >> 4 * (k % 2) & 15
    value = E2M1[code & 7] * (-1 if code & 8 else 1)
    return value * e4m3(tiled_byte(t["weight_scale"], n, k // 16)) / float(t["weight_global_scale"])


def nibble(word, place):
    return (int(word) >> 4 * place & 15) - 8


def int4(t, n, k, group=128):
    return nibble(t["weight"][n, k // 2], k % 2) * float(t["weight_scale"][n, k // group])


def compressed(t, n, k):
    return nibble(t["weight_packed"][n, k // 8], k % 8) * float(t["weight_scale"][n, k // 128])


def gptq(t, n, k):
    return nibble(t["qweight"][k // 8, n], k % 8) * float(t["scales"][k // 128, n])


def gptq_asymmetric(t, n, k):
    """Version 1, whose zero points are one more than what is stored."""
    zero = nibble(t["qzeros"][k // 128, n // 8], n % 8) + 1
    return (nibble(t["qweight"][k // 8, n], k % 8) - zero) * float(t["scales"][k // 128, n])


def autoawq(t, n, k, group=128):
    place = (0, 4, 1, 5, 2, 6, 3, 7)[n % 8]
    zero = nibble(t["qzeros"][k // group, n // 8], place)
    return (nibble(t["qweight"][k, n // 8], place) - zero) * float(t["scales"][k // group, n])


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


class Kind(NamedTuple):
    """What a kind of benchmarks.quantize is read as. `means`: (its tensors, n, k) -> the value there; `error`: of
    Gaussian weights; `multiples`: N and K have to be of them; `least`: below it another format has the same tensors."""

    format: str
    error: float
    means: Callable
    multiples: tuple[int, int] = (1, 1)
    least: tuple[int, int] = (1, 1)


READ_AS = {
    "int8": Kind("int8-channel", 0.02, scaled),
    "fp8": Kind("fp8-channel", 0.04, scaled),
    "fp8-tensor": Kind("fp8-tensor", 0.04, scaled),
    # a single block is a single scale, which a layer of fp8-channel may have as well
    "block128": Kind("fp8-block128", 0.04, block128, least=(129, 1)),
    # narrower layers may be mxfp4 (up to 64) or mxfp6 (96, 192 and 288)
    "mxfp8": Kind("mxfp8", 0.04, mxfp8, (1, 32), least=(1, 289)),
    # with fewer channels their scales are padded to as many as mxfp8's
    "mxfp4": Kind("mxfp4", 0.15, mxfp4, (1, 32), least=(1, 129)),
    "mxfp6": Kind("mxfp6", 0.07, mxfp6, (1, 32), least=(1, 385)),
    "nvfp4": Kind("nvfp4", 0.15, nvfp4, (1, 16)),
    "int4": Kind("int4-g128", 0.2, int4, (1, 2)),
    "int4-compressed": Kind("int4-g128", 0.2, compressed, (1, 8)),
    "int4-gptq": Kind("int4-g128", 0.2, gptq, (8, 8)),
    "int4-gptq-asymmetric": Kind("awq-w4a16-128", 0.2, gptq_asymmetric, (8, 128)),
    "int4-autoawq": Kind("awq-w4a16-128", 0.2, autoawq, (8, 128)),
    "int4-autoawq-64": Kind("awq-w4a16", 0.2, partial(autoawq, group=64), (8, 64)),
    "int4-autoawq-32": Kind("awq-w4a16-32", 0.2, partial(autoawq, group=32), (8, 32)),
    "int4-marlin": Kind("int4-g128-marlin", 0.2, marlin, (64, 128)),
}


def test_every_kind_of_file_is_listed():
    table = "READ_AS in tests/checkpoints/test_encodings.py"
    assert KINDS.keys() == READ_AS.keys(), f"{table} wants a row for {sorted(KINDS.keys() ^ READ_AS.keys())}"
    # tests/checkpoints/test_smooth.py has the smoothed ones, test_convrot.py those that only a marker tells
    plain = {name for name, row in FORMATS.items() if not row.smooth}
    unmarked = {row.format for row in ENCODINGS if row.unmarked} & plain
    left = unmarked - {row.format for row in READ_AS.values()}
    assert not left, f"KINDS in benchmarks/quantize.py and {table} want a row for {sorted(left)}"
    # tests/converting/test_round_trip.py has every one that is written; fp8-reduced is made at load alone
    written = {row.format for row in ENCODINGS if row.dialects}
    left = plain - {"fp8-reduced"} - written
    assert not left, f"ENCODINGS in checkpoints/encodings/ wants a row that writes {sorted(left)}"


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_weight_is_what_the_file_means(kind, data, tmp_path_factory):
    name, error, means, multiples, least = READ_AS[kind]
    n, k = (
        step * data.draw(st.integers(math.ceil(start / step), max(2, 512 // step)), size)
        for size, step, start in zip("nk", multiples, least, strict=True)
    )
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
        assert math.isclose(float(got[row, column]), means(layer, row, column), rel_tol=1e-6, abs_tol=1e-12)


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
