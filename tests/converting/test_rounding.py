"""Ways of rounding in a conversion: what is written, how exact it is, and what is said of it."""

import json

import pytest
import torch
from older_comfyui import core_rotates_int8
from safetensors import safe_open

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting import ConvertError
from x2v_quant.converting import fingerprint as fingerprints
from x2v_quant.converting.convert import convert
from x2v_quant.converting.dialects import writable
from x2v_quant.converting.job import Job
from x2v_quant.converting.options import Options
from x2v_quant.converting.source import Source
from x2v_quant.formats import FORMATS
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.layer_rules.format_names import CHOICES
from x2v_quant.reports.checkpoint import inspect, lines
from x2v_quant.rounding.record import KEY

COUNT = 800
# formats of which GPTQ knows the values
GRIDS = [name for name in writable(X2V) if name in CHOICES and FORMATS[name].grid is not None]
SHARED = {"k": "q", "v": "q"}


def tokens_of(layer, width):
    """Channels that depend on each other; the same for q, k and v of a block."""
    block, _, end = layer.rpartition(".")
    seed = sum(map(ord, f"{block}.{SHARED.get(end, end)}"))
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn((COUNT, width // 4), generator=generator) @ torch.randn(
        (width // 4, width), generator=generator
    )
    return (mixed / width**0.5 + 0.2 * torch.randn((COUNT, width), generator=generator)).to(torch.bfloat16)


def calibration_of(tensors, tokens=True):
    seen = Calibration(calls=2)
    made = {}
    for name, tensor in tensors.items():
        layer = name.removesuffix(".weight")
        if name.startswith("blocks.") and tensor.ndim == 2 and name.endswith(".weight"):
            x = tokens_of(layer, tensor.shape[1])
            seen.add(layer, x.float().abs().amax(dim=0), x.float().square().sum(dim=0), COUNT)
            if tokens:
                seen.inputs[layer] = made.setdefault((tuple(x.shape), float(x.float().sum())), x)
    return seen


@pytest.fixture(scope="module")
def calibration(tensors):
    return calibration_of(tensors)


def errors(path, tensors):
    """Layer -> error of its output for its inputs, of the weights alone."""
    found = {}
    for layer, stored in open_checkpoint(path).load().quantized.items():
        x = tokens_of(layer, stored.shape[1]).float()
        difference = stored.wrap(torch.float32).dequantize() - tensors[f"{layer}.weight"].float()
        found[layer] = float((x @ difference.t()).norm())
    return found


def record_of(path):
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[KEY])


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


def with_outliers(seen):
    """The same with one channel that is far larger than the others."""
    for layer, x in seen.inputs.items():
        seen.inputs[layer] = x.clone()
        seen.inputs[layer][:, 3] *= 100
        seen.maxima[layer][3] *= 100
        seen.squares[layer][3] *= 1e4
    return seen


def outlier_error(path, tensors, seen):
    """Of all outputs together, for the inputs of `seen`."""
    total = 0.0
    for layer, stored in open_checkpoint(path).load().quantized.items():
        x = seen.inputs[layer].float()
        difference = stored.wrap(torch.float32).dequantize() - tensors[f"{layer}.weight"].float()
        total += float((x @ difference.t()).square().sum())
    return total**0.5


def test_awq_makes_columns_that_matter_larger(source, tensors, converted):
    seen = with_outliers(calibration_of(tensors))
    nearest = converted(source, "a.safetensors", format="int4-g128", dialect=X2V, rounding="nearest")
    made = converted(source, "b.safetensors", format="int4-g128", dialect=X2V, rounding="awq", calibration=seen)
    assert open_checkpoint(made).formats == {"int4-g128-smooth": 20}
    assert record_of(made)["methods"] == {"awq": 20} and record_of(made)["smoothed"] == 20
    assert outlier_error(made, tensors, seen) < 0.5 * outlier_error(nearest, tensors, seen)
    assert not inspect(made)["problems"]


def test_awq_is_for_weights_alone(source, tensors, tmp_path, calibration):
    """int8 multiplies quantized activations: it is rounded as without being asked."""
    asked = Options("int8-channel", X2V, rounding="awq", calibration=calibration)
    report = convert(source, tmp_path / "a.safetensors", asked)
    assert report["rounding"] == {"gptq": 20}
    assert any(note.startswith("20 layers rounded with GPTQ: awq is not for their format") for note in report["notes"])


def test_a_search_has_awqs_factors(source, tensors, tmp_path):
    """What is measured is what is written."""
    seen, found = with_outliers(calibration_of(tensors)), {}
    for rounding in ("nearest", "awq"):
        asked = {"target_snr": -50.0, "candidates": ("int4-g128",), "dialect": X2V, "calibration": seen}
        found[rounding] = convert(source, tmp_path / f"{rounding}.safetensors", Options(rounding=rounding, **asked))
    assert found["awq"]["rounding"] == {"awq": 20}
    assert open_checkpoint(tmp_path / "awq.safetensors").formats == {"int4-g128-smooth": 20}
    ratios = {name: [entry["snr_db"] for entry in report["chosen"].values()] for name, report in found.items()}
    assert all(one > other + 3 for one, other in zip(ratios["awq"], ratios["nearest"], strict=True))
    error = outlier_error(tmp_path / "awq.safetensors", tensors, seen)
    assert error < 0.5 * outlier_error(tmp_path / "nearest.safetensors", tensors, seen)


def test_a_layer_without_awqs_factor_is_not_said_to_have_one(source, tensors, tmp_path):
    """Where all channels are alike, there is nothing to gain."""
    seen = calibration_of(tensors)
    for layer, x in seen.inputs.items():
        seen.squares[layer] = torch.full((x.shape[1],), float(COUNT))
    report = convert(source, tmp_path / "a.safetensors", Options("int4-g128", X2V, rounding="awq", calibration=seen))
    assert report["rounding"] == {"weighted": 20}
    assert any("20 layers rounded" in note and "do not make them more exact" in note for note in report["notes"])


@pytest.mark.parametrize("dialect", [COMFYUI, LIGHTX2V])
def test_awq_needs_a_place_for_its_factors(dialect, source, calibration, converted):
    with pytest.raises(ConvertError, match=r"for which the dialect .* has no place: choose the dialect x2v"):
        converted(source, format="int4-g128", dialect=dialect, rounding="awq", calibration=calibration)


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


class Stop:
    """A progress callback that interrupts after so many units."""

    def __init__(self, after):
        self.left = after

    def __call__(self, done, total):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_to_the_same_bytes(source, tmp_path, calibration, converted):
    asked = {"format": "int4-g128", "dialect": X2V, "calibration": calibration}
    expected = converted(source, "expected.safetensors", **asked)
    target = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Options(**asked), Stop(40))
    convert(source, target, Options(resume=True, **asked))
    assert target.read_bytes() == expected.read_bytes()


def other_tokens(tensors):
    """A calibration with the same statistics, and other values in one layer's tokens."""
    seen = calibration_of(tensors)
    layer = "blocks.1.ffn.2"
    seen.inputs[layer] = seen.inputs[layer].flip(1)
    return seen


def other_calls(tensors):
    seen = calibration_of(tensors)
    seen.calls = 3
    return seen


@pytest.mark.parametrize("change", ["calls", "tokens", "rounding", pytest.param("rotation", marks=core_rotates_int8)])
def test_another_way_of_rounding_is_another_run(change, source, tensors, tmp_path, calibration, converted):
    first = {"format": "int8-channel", "dialect": X2V, "rounding": "gptq", "calibration": calibration}
    second = {
        "calls": {**first, "calibration": other_calls(tensors)},
        "tokens": {**first, "calibration": other_tokens(tensors)},
        "rounding": {**first, "rounding": "nearest"},
        "rotation": {**first, "rotation": "64"},
    }[change]
    target = tmp_path / "out.safetensors"
    with pytest.raises(KeyboardInterrupt):
        convert(source, target, Options(**first), Stop(40))
    convert(source, target, Options(resume=True, **second))
    assert target.read_bytes() == converted(source, "expected.safetensors", **second).read_bytes()


def test_a_run_on_another_device_is_another_run(source, tmp_path, calibration, monkeypatch):
    asked = Options("int8-channel", X2V, calibration=calibration)
    checkpoint, journals = open_checkpoint(source), []
    with Source(checkpoint) as opened:
        job = Job(opened, asked, lambda done, total: None)
        for device in ("cpu", "cpu", "xpu"):
            monkeypatch.setattr(fingerprints, "default_device", lambda device=device: torch.device(device))
            journals.append(fingerprints.fingerprint(checkpoint, job.units(), job, asked))
    assert journals[0] == journals[1] != journals[2]


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


@core_rotates_int8
def test_inspect_says_what_was_done(source, tensors, calibration, converted):
    made = converted(source, format="int8", rotation="64", dialect=X2V, calibration=calibration, rounding="gptq")
    report = inspect(made)
    assert report["rounding"]["methods"] == {"gptq": 20} and report["rounding"]["tokens"] == COUNT
    text = "\n".join(lines(report))
    assert "rounded with GPTQ: 20 layers" in text
    assert "rotated in groups of 64: 20 layers" in text
    assert f"calibrated with 2 calls of the model, up to {COUNT} inputs of a layer" in text


def test_what_is_only_packed_otherwise_keeps_its_record(source, calibration, converted):
    first = converted(source, "a.safetensors", format="nvfp4", dialect=X2V, calibration=calibration)
    second = converted(first, "b.safetensors", dialect=COMFYUI)
    assert record_of(second) == record_of(first)


def test_layers_that_keep_their_codes_keep_their_record(source, calibration, converted):
    """In another dialect's names too, and told apart from those that are rounded now."""
    first = converted(source, "a.safetensors", format="int8", dialect=X2V, calibration=calibration, rounding="gptq")
    rules = tuple(parse_overrides("ffn.* = int4-g128"))
    second = converted(first, "b.safetensors", dialect=LIGHTX2V, overrides=rules, rounding="nearest")
    found = record_of(second)
    assert found["methods"] == {"nearest": 4} and (found["calls"], found["tokens"]) == (0, 0)
    assert found["layers"] == {"nearest": ["blocks.0-1.ffn.0", "blocks.0-1.ffn.2"]}
    (earlier,) = found["earlier"]
    assert earlier["methods"] == {"gptq": 16} and (earlier["calls"], earlier["tokens"]) == (2, COUNT)
    assert "blocks.0-1.self_attn.q" in earlier["layers"]["gptq"]
    assert not any("ffn" in name for name in earlier["layers"]["gptq"])
    assert "in an earlier conversion rounded with GPTQ: 16 layers" in lines(inspect(second))
    # none of the first record's is left
    third = converted(second, "c.safetensors", format="fp8-channel", dialect=X2V, rounding="nearest")
    assert record_of(third)["methods"] == {"nearest": 20} and record_of(third)["earlier"] == []


@pytest.mark.parametrize("rounding", ["nearest", "mse"])
def test_a_calibration_that_nothing_used_is_not_said(rounding, source, calibration, converted):
    made = converted(source, format="int4-g128", dialect=X2V, calibration=calibration, rounding=rounding)
    assert (record_of(made)["calls"], record_of(made)["tokens"]) == (0, 0)
    assert not any(line.startswith("calibrated") for line in lines(inspect(made)))


@pytest.mark.parametrize(
    "format_name,dialect,types",
    [
        ("w4a8", X2V, ["float32", "float8_e4m3fn"]),
        ("nvfp4", X2V, ["float32", "float8_e4m3fn"]),
        ("awq-w4a16", X2V, ["float32"]),
        ("int8-channel", LIGHTX2V, ["bfloat16"]),
    ],
)
def test_scales_are_what_codes_are_multiplied_by(format_name, dialect, types, source, converted):
    """Not the zero points and tables of levels beside them."""
    made = converted(source, format=format_name, dialect=dialect, rounding="nearest")
    assert record_of(made)["scales"] == types


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
        "a calibration (Calibrate) makes int4-g128 more exact: in our test 9.1 % off the 16-bit model, and 14.6 % "
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


def test_a_smoothed_layer_is_rounded_behind_its_factor(source, tensors, converted):
    """Outliers, which smoothing takes away first."""
    seen = with_outliers(calibration_of(tensors))
    made = converted(source, format="int8-channel", dialect=X2V, calibration=seen)
    assert open_checkpoint(made).formats == {"int8-channel-smooth": 20}
    assert record_of(made)["smoothed"] == 20 and record_of(made)["methods"] == {"gptq": 20}
