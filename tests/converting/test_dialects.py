"""What is written in one dialect and in the other is the same weight, and is what the format makes of the source."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from whole_weight import quantize

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V
from x2v_quant.converting import ConvertError
from x2v_quant.converting.dialects import layer_specs, layer_tensors, writable
from x2v_quant.converting.rows import BY_CHANNEL
from x2v_quant.formats import FORMATS

# formats whose scales are rounded to what a file stores them as
ROUNDED = (*BY_CHANNEL, "nvfp4")
BOTH = [name for name in writable(COMFYUI) if name in writable(LIGHTX2V)]


def stored(path):
    return open_checkpoint(path).load().quantized


def values(weight):
    return weight.wrap(torch.float32).dequantize()


# mxfp6 of 256 channels is mxfp8 of 192 to the byte; tests/converting/test_round_trip.py has wider layers
@pytest.mark.parametrize("format_name", [name for name in writable(LIGHTX2V) if name != "mxfp6"])
def test_a_file_is_what_the_format_makes_of_its_source(format_name, source, tensors, converted):
    found = stored(converted(source, format=format_name, rounding="nearest"))
    assert len(found) == 20
    for layer, weight in found.items():
        true = tensors[f"{layer}.weight"].float()
        whole = FORMATS[format_name].quantize(true, torch.float32).dequantize()
        if format_name in ROUNDED:
            assert (values(weight) - true).norm() <= 1.02 * (whole - true).norm(), layer
        else:
            assert torch.equal(values(weight), whole), layer


@pytest.mark.parametrize("format_name", BOTH)
def test_both_dialects_hold_the_same_weights(format_name, source, converted):
    one = stored(converted(source, "a.safetensors", format=format_name, dialect=LIGHTX2V))
    other = stored(converted(source, "b.safetensors", format=format_name, dialect=COMFYUI))
    assert one.keys() == other.keys()
    for layer in one:
        assert torch.equal(values(one[layer]), values(other[layer])), layer


@pytest.mark.parametrize("format_name", BOTH)
@pytest.mark.parametrize("there,back", [(LIGHTX2V, COMFYUI), (COMFYUI, LIGHTX2V)])
def test_a_dialect_is_changed_without_touching_a_code(format_name, there, back, source, converted):
    first = converted(source, "a.safetensors", format=format_name, dialect=there)
    second = converted(first, "b.safetensors", dialect=back)
    third = converted(second, "c.safetensors", dialect=there)
    one, two = load_file(first), load_file(third)
    assert one.keys() == two.keys()
    for key in one:
        # ComfyUI's scales are float32 again
        assert torch.equal(one[key].float(), two[key].float()), key


@pytest.mark.parametrize("format_name", sorted(set(writable(LIGHTX2V)) - set(BOTH)))
def test_what_core_cannot_read_is_not_written_in_its_dialect(format_name, source, converted):
    with pytest.raises(ConvertError, match=f"would be {format_name}, which the dialect comfyui does not have"):
        converted(source, format=format_name, dialect=COMFYUI)


@settings(max_examples=60, deadline=None)
@given(
    format_name=st.sampled_from(writable(LIGHTX2V)),
    dialect=st.sampled_from([LIGHTX2V, COMFYUI]),
    rows=st.integers(1, 20),
    columns=st.integers(1, 12),
    seed=st.integers(0, 2**31),
)
def test_specs_are_those_of_the_tensors_and_chunks_change_nothing(format_name, dialect, rows, columns, seed):
    if format_name not in writable(dialect):
        return
    shape = (rows * 32, columns * 32)
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed % 7 - 4)
    made = quantize(lambda a, b: weight[a:b].clone(), shape, format_name, "here")
    specs = layer_specs(format_name, shape, dialect)
    tensors = layer_tensors(made, dialect)
    assert list(specs) == list(tensors)
    for end in specs:
        assert (specs[end].shape, specs[end].dtype) == (tensors[end].shape, tensors[end].dtype), end
    whole = FORMATS[format_name].quantize(weight.clone(), torch.float32).dequantize()
    if format_name == "nvfp4":  # its scale is moved by a bit, to survive LightX2V's reciprocal
        assert (values(made) - weight).norm() <= 1.02 * (whole - weight).norm()
    else:
        assert torch.equal(values(made), whole)


@pytest.mark.parametrize("dialect", [COMFYUI, LIGHTX2V])
@pytest.mark.parametrize("given", [0.125, 1.0])
def test_a_static_input_scale_stays(dialect, given, source, tmp_path, converted):
    """Exactly 1 is what writers put where nothing was calibrated."""
    first = load_file(converted(source, "a.safetensors", format="fp8-tensor", dialect=LIGHTX2V))
    key = "blocks.1.ffn.0.input_scale"
    assert first[key] == 1
    path = tmp_path / "calibrated.safetensors"
    save_file({**first, key: torch.tensor(given)}, path)
    found = load_file(converted(path, "b.safetensors", dialect=dialect))
    assert found.get(key, torch.ones(())) == given
    assert (key in found) == (dialect == LIGHTX2V or given != 1)
    marked = bytes(found["blocks.1.ffn.0.comfy_quant"].tolist()) if dialect == COMFYUI else b""
    assert (b"full_precision" in marked) == (dialect == COMFYUI and given == 1)
