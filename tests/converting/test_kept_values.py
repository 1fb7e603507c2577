"""What stays unquantized is written with the values that it has, or not at all."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.checkpoints import CheckpointError
from x2v_quant.checkpoints.encodings import DIALECTS
from x2v_quant.converting import ConvertError
from x2v_quant.converting.convert import convert
from x2v_quant.converting.options import Options

NORM, BIAS, HEAD = "blocks.1.norm3.weight", "blocks.0.ffn.0.bias", "head.head.weight"


@pytest.fixture
def refused(tensors, tmp_path):
    """refused(change, match, error, **options): converting the Wan with these tensors is refused, and nothing is
    left"""

    def check(change, match, error=ConvertError, **options):
        source = tmp_path / "wan.safetensors"
        save_file({**tensors, **change}, source)
        with pytest.raises(error, match=match):
            convert(source, tmp_path / "out.safetensors", Options(**{"format": "int8-channel", **options}))
        assert list(tmp_path.iterdir()) == [source]

    return check


def with_value(tensor, value, dtype=None):
    changed = tensor.clone().to(dtype or tensor.dtype)
    changed.view(-1)[-1] = value
    return changed


@pytest.mark.parametrize("value,word", [(float("nan"), "NaN"), (float("inf"), "infinity"), (float("-inf"), "infinity")])
@pytest.mark.parametrize("key", [NORM, BIAS, HEAD, "blocks.0.modulation"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_kept_tensor_that_is_no_number(dialect, key, value, word, tensors, refused):
    words = rf"wan\.safetensors: {key} contains {word}\. The model is damaged"
    refused({key: with_value(tensors[key], value)}, words, dialect=dialect)


@pytest.mark.parametrize("kept", ["bf16", "fp16", "fp32"])
def test_it_is_no_number_in_any_type(kept, tensors, refused):
    refused({NORM: with_value(tensors[NORM], float("nan"))}, f"{NORM} contains NaN", kept=kept)


@pytest.mark.parametrize("value", [70000.0, -1e30])
@pytest.mark.parametrize("key", [NORM, BIAS, HEAD])
def test_a_value_that_the_type_does_not_reach(key, value, tensors, refused):
    change = {key: with_value(tensors[key], value)}
    refused(change, rf"wan\.safetensors: {key} contains \S+, which float16 does not reach\. Keep it in", kept="fp16")


def test_float64_beyond_float32(tensors, refused):
    change = {NORM: with_value(tensors[NORM], 1e300, torch.float64)}
    refused(change, "contains 1e\\+300, which float32 does not reach", kept="fp32")


def test_a_tensor_that_would_become_zero(tensors, refused):
    change = {BIAS: torch.full_like(tensors[BIAS], 1e-20)}
    refused(change, f"{BIAS} contains only values that float16 rounds to zero", kept="fp16")


@pytest.mark.parametrize("kept", ["bf16", "fp32", None])
def test_what_the_refusal_advises_works(kept, tensors, tmp_path):
    source, target = tmp_path / "wan.safetensors", tmp_path / "out.safetensors"
    save_file(
        {**tensors, NORM: with_value(tensors[NORM], 70000.0), BIAS: torch.full_like(tensors[BIAS], 1e-20)}, source
    )
    convert(source, target, Options(format="int8-channel", kept=kept))
    written = load_file(target)
    assert written[NORM][-1] == with_value(tensors[NORM], 70000.0)[-1]
    assert written[BIAS].any()


def test_a_bias_of_zeros_stays_one(tensors, tmp_path):
    source, target = tmp_path / "wan.safetensors", tmp_path / "out.safetensors"
    save_file({**tensors, BIAS: torch.zeros_like(tensors[BIAS])}, source)
    convert(source, target, Options(format="int8-channel", kept="fp16"))
    assert not load_file(target)[BIAS].any()


def test_a_quantized_source_with_a_scale_of_zero(tensors, tmp_path, refused):
    """Its layers would be copied as they are."""
    codes = {"weight": torch.ones(256, 256, dtype=torch.int8), "weight_scale": torch.zeros(256, 1)}
    change = {f"blocks.0.self_attn.q.{end}": tensor for end, tensor in codes.items()}
    refused(change, "is zero for weights that are not", CheckpointError)
