"""mxfp4, mxfp6 and mxfp8: scales that no weight has are refused, and so are layers that may be of two formats."""

import pytest
import torch
from safetensors.torch import save_file

from x2v_quant.benchmarks.quantize import KINDS
from x2v_quant.checkpoints import CheckpointError, open_checkpoint
from x2v_quant.checkpoints.outline import read_outline

from .encoded import DIT, Q, marker, put, weight

MX = ("mxfp4", "mxfp6", "mxfp8")
every_one = pytest.mark.parametrize("kind", MX)


def with_byte(kind, byte):
    layer = KINDS[kind](weight(64, 512))
    layer["weight_scale"] = layer["weight_scale"].clone()
    layer["weight_scale"].view(torch.uint8).view(-1)[0] = byte
    return layer


@every_one
@pytest.mark.parametrize("byte,words", [(0, "is zero for weights that are not zero"), (0xF2, "larger than any weight")])
@pytest.mark.parametrize("byte_end", [0, 1])
def test_a_scale_that_no_weight_has_is_refused(kind, byte, words, byte_end, tmp_path):
    checkpoint = put(tmp_path / "model.safetensors", with_byte(kind, byte + (byte_end if byte else 0)))
    with pytest.raises(CheckpointError, match=rf"{Q}\.weight_scale .*{words}"):
        checkpoint.load()
    assert len(read_outline(checkpoint).problems) == 1


@every_one
def test_the_largest_scale_that_is_read_gives_numbers(kind, tmp_path):
    loaded = put(tmp_path / "model.safetensors", with_byte(kind, 190)).load().quantized[Q]
    assert bool(loaded.wrap(torch.float32).dequantize().isfinite().all())


@pytest.mark.parametrize("kind", ["mxfp4", "mxfp6"])
def test_this_packs_own_files_are_checked_alike(kind, tmp_path):
    codes = torch.full((8, 32 if kind == "mxfp4" else 48), 0x33, dtype=torch.uint8)
    for byte, words in ((0, "is zero for"), (0xF2, "larger than any weight")):
        layer = {"weight": codes, "weight_scale": torch.full((8, 2), byte, dtype=torch.uint8)}
        checkpoint = put(tmp_path / f"{byte}.safetensors", {**layer, "comfy_quant": marker(kind)})
        with pytest.raises(CheckpointError, match=words):
            checkpoint.load()


@every_one
def test_a_scale_of_zero_over_zeros_is_read(kind, tmp_path):
    layer = with_byte(kind, 0)
    layer["weight"] = torch.zeros_like(layer["weight"])
    put(tmp_path / "model.safetensors", layer).load()


def narrow(kind):
    return KINDS[kind](weight(64, 64))


@every_one
def test_a_narrow_layer_alone_is_refused(kind, tmp_path):
    (problem,) = put(tmp_path / "model.safetensors", narrow(kind)).problems
    assert problem.key == f"{Q}.weight"
    assert "may be mxfp4 or mxf" in problem.cause and "nothing in the file tells" in problem.cause


@every_one
@pytest.mark.parametrize("other", MX)
def test_wider_layers_tell_what_a_narrow_one_is_unless_there_are_two_formats(kind, other, tmp_path):
    layers = {
        Q: narrow(kind),
        "blocks.0.ffn.0": KINDS[kind](weight(64, 512)),
        "blocks.1.ffn.0": KINDS[other](weight(64, 512)),
    }
    tensors = {f"{layer}.{end}": tensor.contiguous() for layer, of in layers.items() for end, tensor in of.items()}
    save_file({**DIT, **tensors}, tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    if kind == other:
        assert checkpoint.problems == []
        assert checkpoint.formats == {kind: 3}
    else:
        assert [problem.key for problem in checkpoint.problems] in ([f"{Q}.weight"], [])
        assert checkpoint.problems or checkpoint.layers[Q].format == kind
