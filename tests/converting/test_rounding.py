"""Ways of rounding in a conversion: what is written, how exact it is, and what is said of it."""

import pytest
import torch
from rounded_files import calibration_of, errors, record_of

from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting import ConvertError
from x2v_quant.converting.convert import convert
from x2v_quant.converting.dialects import writable
from x2v_quant.converting.options import Options
from x2v_quant.formats import FORMATS
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.layer_rules.format_names import CHOICES
from x2v_quant.reports.checkpoint import inspect

# formats of which GPTQ knows the values
GRIDS = [name for name in writable(X2V) if name in CHOICES and FORMATS[name].grid is not None]


@pytest.mark.parametrize("format_name", GRIDS)
def test_outputs_gain_by_gptq(format_name, source, tensors, calibration, converted):
    nearest = errors(converted(source, "a.safetensors", format=format_name, dialect=X2V, rounding="nearest"), tensors)
    made = converted(source, "b.safetensors", format=format_name, dialect=X2V, calibration=calibration)
    found = errors(made, tensors)
    assert found.keys() == nearest.keys() and len(found) == 20
    for layer, error in found.items():
        assert error < 0.8 * nearest[layer], layer
    assert record_of(made)["methods"] == {"gptq": 20}
    assert not inspect(made)["problems"]


@pytest.mark.parametrize("method", ["mse", "weighted"])
def test_scales_are_searched(method, source, tensors, calibration, converted):
    plain = converted(source, "a.safetensors", format="int4-g128", dialect=X2V, rounding="nearest")
    made = converted(source, "b.safetensors", format="int4-g128", dialect=X2V, rounding=method, calibration=calibration)
    nearest, found = errors(plain, tensors), errors(made, tensors)
    assert sum(found.values()) < 0.97 * sum(nearest.values())
    assert record_of(made)["methods"] == {method: 20}


@pytest.mark.parametrize("format_name", [name for name in GRIDS if FORMATS[name].activation != "float"])
def test_without_a_calibration_nothing_is_slower(format_name, source, converted):
    """Bit for bit what rounding to the nearest gives."""
    auto = converted(source, "a.safetensors", format=format_name, dialect=X2V)
    nearest = converted(source, "b.safetensors", format=format_name, dialect=X2V, rounding="nearest")
    assert auto.read_bytes() == nearest.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("dialect", [COMFYUI, LIGHTX2V])
def test_other_dialects_have_the_same_codes(dialect, source, tensors, calibration, converted):
    made = converted(source, "a.safetensors", format="nvfp4", dialect=dialect, calibration=calibration)
    ours = converted(source, "b.safetensors", format="nvfp4", dialect=X2V, calibration=calibration)
    one, two = (open_checkpoint(path).load().quantized for path in (made, ours))
    for layer, stored in one.items():
        values = stored.wrap(torch.float32).dequantize()
        assert torch.equal(values, two[layer].wrap(torch.float32).dequantize()), layer


def test_scales_are_what_the_file_can_have(source, tensors, calibration, converted):
    """LightX2V's files have scales in bfloat16: codes are chosen for those."""
    made = converted(source, format="int8-channel", dialect=LIGHTX2V, rounding="gptq", calibration=calibration)
    nearest = converted(source, "b.safetensors", format="int8-channel", dialect=LIGHTX2V, rounding="nearest")
    assert record_of(made)["scales"] == ["bfloat16"]
    found, plain = errors(made, tensors), errors(nearest, tensors)
    assert all(error < 0.8 * plain[layer] for layer, error in found.items())


def test_how_long_it_takes_is_said_before(source, tmp_path, calibration):
    shown = []
    report = convert(
        source, tmp_path / "a.safetensors", Options("int4-g128", X2V, calibration=calibration), say=shown.append
    )
    assert report["rounding"] == {"gptq": 20}
    (line,) = shown
    assert line.startswith("Rounding takes less than a minute on this ") and line.endswith("(estimated).")


def test_nothing_is_said_of_what_is_quick(source, tmp_path):
    shown = []
    convert(source, tmp_path / "a.safetensors", Options("int8-channel"), say=shown.append)
    assert shown == []


def test_a_rounding_that_changes_nothing_is_told(source, calibration, converted, tmp_path):
    first = converted(source, "a.safetensors", format="int8", dialect=X2V, rounding="nearest")
    asked = Options(
        "int8", X2V, calibration=calibration, rounding="gptq", overrides=tuple(parse_overrides("ffn.0 = fp8"))
    )
    report = convert(first, tmp_path / "b.safetensors", asked)
    assert report["rounding"] == {"gptq": 2}
    assert [note for note in report["notes"] if "gptq" in note] == [
        "18 layers already quantized as asked for, and not rounded by gptq: convert the unquantized model to have them "
        "rounded so"
    ]


@pytest.mark.parametrize("tokens", [False, None], ids=["largest values only", "none"])
def test_gptq_wants_inputs(tokens, source, tensors, converted):
    calibration = None if tokens is None else calibration_of(tensors, tokens)
    with pytest.raises(ConvertError, match=r"--rounding gptq .* Calibrate .* and Finish Calibration"):
        converted(source, format="int8-channel", dialect=X2V, rounding="gptq", calibration=calibration)


def test_what_a_calibration_would_bring_is_said_once(source, tmp_path):
    report = convert(source, tmp_path / "a.safetensors", Options("int4-g128"))
    assert [note for note in report["notes"] if "alibra" in note] == [
        "a calibration (Calibrate) makes int4-g128 more exact: in our test 9.2 % off the 16-bit model, and 14.3 % "
        "without it"
    ]
    chosen = convert(source, tmp_path / "b.safetensors", Options("int4-g128", rounding="nearest"))
    assert not [note for note in chosen["notes"] if "alibra" in note]


def test_layers_that_were_not_recorded_are_counted(source, tensors, tmp_path):
    seen = calibration_of(tensors)
    del seen.inputs["blocks.0.ffn.0"]
    report = convert(source, tmp_path / "a.safetensors", Options("int4-g128", X2V, calibration=seen, rounding="gptq"))
    assert report["rounding"] == {"gptq": 19, "mse": 1}
    (note,) = (note for note in report["notes"] if "gptq" in note)
    assert note.startswith("1 layer rounded with searched scales: ")


def test_a_calibration_with_layers_that_the_model_lacks_is_told(source, tensors, tmp_path):
    """As one of image to video has for a model of text to video."""
    seen, others = calibration_of(tensors), "the calibration has 2 layers that this model lacks, {} for instance"
    for block in range(2):
        layer = f"blocks.{block}.cross_attn.k_img"
        seen.add(layer, torch.ones(256), torch.ones(256), 9)
    report = convert(
        source, tmp_path / "a.safetensors", Options("int8-channel", X2V, rounding="nearest", calibration=seen)
    )
    (note,) = (note for note in report["notes"] if "calibration" in note)
    assert note.startswith(others.format("blocks.0.cross_attn.k_img"))
    known = Options("int8-channel", X2V, rounding="nearest", calibration=calibration_of(tensors))
    assert not any("lacks" in note for note in convert(source, tmp_path / "b.safetensors", known)["notes"])
