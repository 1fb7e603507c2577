"""A search meets its target with the cheapest formats, and what it measures is what the kernels compute."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from x2v_quant.calibrating import Calibration, CalibrationError
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.cli import main
from x2v_quant.converting import ConvertError, measuring, search
from x2v_quant.converting.convert import Options, convert
from x2v_quant.converting.dialects import WRITERS
from x2v_quant.converting.measuring import Cost, Layer, candidates, measure, output_snr
from x2v_quant.converting.outputs import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting.rows import quantize
from x2v_quant.converting.search import EQUAL_SIZE, choose_size, choose_snr, chosen_bytes
from x2v_quant.converting.units import Spec
from x2v_quant.demo.wan import WanSize, dit
from x2v_quant.formats import FORMATS
from x2v_quant.kernels.reference import reference
from x2v_quant.layer_rules import RuleError, parse_overrides
from x2v_quant.layer_rules.overrides import KEEP

FORMAT_NAMES = ["int4-g128", "int8-channel", "fp8-channel", "fp8-tensor"]
SNR = st.floats(0, 60)
COSTS = st.dictionaries(
    st.sampled_from(FORMAT_NAMES), st.builds(Cost, SNR, st.integers(1, 2000) | st.integers(1000, 1020))
).map(lambda costs: {**costs, KEEP: Cost(math.inf, 2500)})
MODELS = st.dictionaries(st.sampled_from([f"blocks.{index}.ffn.0" for index in range(6)]), COSTS, min_size=1)


@settings(max_examples=60, deadline=None)
@given(MODELS, SNR)
def test_every_layer_meets_the_target_at_the_lowest_price(measured, target):
    chosen = choose_snr(measured, target)
    assert chosen.keys() == measured.keys()
    for layer, name in chosen.items():
        good = {other: cost for other, cost in measured[layer].items() if cost.snr >= target}
        assert name in good
        lowest = min(cost.nbytes for cost in good.values())
        assert good[name].nbytes <= EQUAL_SIZE * lowest
        # what costs more than the cheapest is there for its smaller error
        cheapest = max(cost.snr for cost in good.values() if cost.nbytes == lowest)
        assert good[name].snr >= cheapest


@settings(max_examples=60, deadline=None)
@given(MODELS, SNR, SNR)
def test_a_higher_target_never_makes_a_layer_worse_or_smaller(measured, one, other):
    low, high = (choose_snr(measured, target) for target in sorted((one, other)))
    for layer, costs in measured.items():
        assert costs[high[layer]].snr >= costs[low[layer]].snr
        assert costs[high[layer]].nbytes >= costs[low[layer]].nbytes


@settings(max_examples=60, deadline=None)
@given(MODELS, st.integers(0, 1000), st.integers(0, 18000))
def test_a_size_gets_the_highest_threshold_that_fits(measured, kept, room):
    targets = sorted({cost.snr for costs in measured.values() for cost in costs.values()})
    choices = [choose_snr(measured, target) for target in targets]
    fitting = [choice for choice in choices if kept + chosen_bytes(measured, choice) <= room]
    if fitting:
        assert choose_size(measured, kept, room) == fitting[-1]
    else:
        with pytest.raises(ConvertError, match="does not fit into"):
            choose_size(measured, kept, room)


def test_the_smallest_possible_size_is_named_and_possible():
    measured = {"a": {"int8-channel": Cost(30.0, 2_000_001), KEEP: Cost(math.inf, 4_000_000)}}
    with pytest.raises(ConvertError, match=r"into 0\.002 GB: .* takes 0\.004 GB\. Ask for at least that"):
        choose_size(measured, 1_500_000, 2_000_000)
    assert choose_size(measured, 1_500_000, 4_000_000) == {"a": "int8-channel"}


def test_one_scale_less_does_not_buy_more_error():
    costs = {"fp8-tensor": Cost(28.0, 10_000), "int8-channel": Cost(40.0, 10_050), KEEP: Cost(math.inf, 20_000)}
    assert choose_snr({"a": costs}, 25) == {"a": "int8-channel"}


def weight_of(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / shape[1] ** 0.5


def layer_of(weight, name="a"):
    kept = {f"{name}.weight": Spec(torch.bfloat16, tuple(weight.shape))}
    return Layer(tuple(weight.shape), lambda: lambda start, stop: weight[start:stop].clone(), "f: a.weight", kept)


@pytest.mark.parametrize("format_name", WRITERS[LIGHTX2V])
@pytest.mark.parametrize("shape", [(384, 256), (96, 96)], ids=str)
def test_what_is_measured_is_the_reference_kernels_error(format_name, shape, monkeypatch):
    monkeypatch.setattr(measuring, "CHUNK", 128 * shape[1])  # the tall one in three parts
    weight = weight_of(shape)
    x = torch.randn((64, shape[1]), generator=torch.Generator().manual_seed(1))
    # in the first part alone, and no share of the output: what it does to a scale of all rows has to show in the others
    weight[0, 0], x[:, 0] = 1000.0, 0
    held = quantize(lambda a, b: weight[a:b].clone(), shape, format_name, "here")
    row = FORMATS[format_name]
    wrapped = row.wrap(held.tensors, torch.float32, shape)
    y = reference(x, format_name, wrapped._qdata, wrapped._params, None, row.activation)
    expected = x @ weight.t()
    ratio = expected.square().sum() / (y - expected).square().sum()
    found = output_snr(layer_of(weight), [format_name], x)[format_name]
    assert found == pytest.approx(10 * math.log10(float(ratio)), abs=0.05)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 300), st.integers(1, 5), st.sampled_from(list(WRITERS[LIGHTX2V])))
def test_the_bytes_are_those_of_the_tensors(rows, columns, format_name):
    weight = weight_of((rows * 32, columns * 32))
    measured = measure({"a": layer_of(weight)}, [format_name], LIGHTX2V)["a"]
    held = quantize(lambda a, b: weight[a:b].clone(), tuple(weight.shape), format_name, "here")
    real = sum(tensor.nbytes for tensor in WRITERS[LIGHTX2V][format_name](held).values())
    assert 0 <= measured[format_name].nbytes - real <= 400
    assert 0 <= measured[KEEP].nbytes - 2 * weight.numel() <= 200


def test_a_calibration_says_what_the_inputs_are():
    weight, outliers = weight_of((256, 256)), torch.ones(256)
    outliers[7] = 300
    calibration = Calibration()
    calibration.add("a", 4 * outliers, outliers.square() * 1000, 1000)
    weight[:, 7] /= 300
    layers = {"a": layer_of(weight), "b": layer_of(weight, "b")}
    measured = measure(layers, ["int8-channel", "fp8-channel"], LIGHTX2V, calibration)
    # int8 has one step for all channels of a token, fp8 one for each power of two
    assert measured["a"]["int8-channel"].snr < measured["a"]["fp8-channel"].snr
    # of b nothing has been seen
    assert measured["b"] == measure({"b": layers["b"]}, ["int8-channel", "fp8-channel"], LIGHTX2V)["b"]
    assert measured["b"]["int8-channel"].snr > measured["b"]["fp8-channel"].snr


@pytest.mark.parametrize(
    "name,width,match",
    [("c", 256, "knows none of the model's layers"), ("a", 128, "saw 128 input channels of layer a")],
)
def test_a_calibration_of_another_model(name, width, match):
    calibration = Calibration()
    calibration.add(name, torch.ones(width), torch.ones(width), 1)
    with pytest.raises(CalibrationError, match=match):
        measure({"a": layer_of(weight_of((256, 256)))}, ["int8-channel"], LIGHTX2V, calibration)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(value):
    weight = weight_of((256, 256))
    weight[200, 3] = value
    with pytest.raises(ConvertError, match=r"f: a\.weight holds NaN, infinity .* The model is damaged"):
        measure({"a": layer_of(weight)}, WRITERS[LIGHTX2V], LIGHTX2V)


def test_a_format_that_cannot_hold_a_layer_is_no_candidate_for_it():
    layers = {"a": layer_of(weight_of((40, 48))), "b": layer_of(weight_of((64, 64)), "b")}
    measured = measure(layers, ["nvfp4", "int8-channel"], LIGHTX2V)
    assert measured["a"].keys() == {KEEP, "int8-channel"}
    assert measured["b"].keys() == {KEEP, "int8-channel", "nvfp4"}
    with pytest.raises(ConvertError, match="No candidate can hold any layer: a cannot be nvfp4"):
        measure({"a": layers["a"]}, ["nvfp4"], LIGHTX2V)


def test_zeros_cost_nothing():
    assert output_snr(layer_of(torch.zeros(64, 64)), ["int8-channel", "nvfp4"], torch.ones(4, 64)) == {
        "int8-channel": math.inf,
        "nvfp4": math.inf,
    }


def test_candidates_by_their_names():
    assert candidates(["int4-g128", "int8", "fp8-sgl", "INT8"], LIGHTX2V) == (
        "int4-g128",
        "int8-channel",
        "fp8-channel",
    )
    assert set(candidates([], COMFYUI)) == set(WRITERS[COMFYUI])
    with pytest.raises(ConvertError, match="fp8-channel is among the candidates, which the dialect comfyui"):
        candidates(["fp8"], COMFYUI)
    with pytest.raises(RuleError, match="'int9' is neither"):
        candidates(["int9"], LIGHTX2V)


# from here on with files


@pytest.fixture
def planted(tensors, tmp_path):
    """A Wan of which one layer has a weight in every row that takes int8's step from all the others."""
    path = tmp_path / "planted.safetensors"
    bad = tensors["blocks.1.ffn.0.weight"].clone()
    bad[:, 3] += 4
    save_file({**tensors, "blocks.1.ffn.0.weight": bad}, path)
    return path


def test_a_bad_layer_gets_the_better_format(planted, tmp_path):
    options = Options(target_snr=30.0, candidates=("int4-g128", "int8", "fp8"))
    report = convert(planted, tmp_path / "out.safetensors", options)
    held = {layer: entry.format for layer, entry in open_checkpoint(tmp_path / "out.safetensors").layers.items()}
    assert held == report["layers"]
    assert held.pop("blocks.1.ffn.0") == "fp8-channel"
    assert set(held.values()) == {"int8-channel"} and len(held) == 19
    assert all(entry["snr_db"] >= 30 for entry in report["chosen"].values())
    # where the only format left is not good enough the layer stays as it is
    kept = convert(planted, tmp_path / "kept.safetensors", Options(target_snr=30.0, candidates=("int8",)))
    assert kept["kept"]["blocks.1.ffn.0"] == search.KEPT
    assert kept["chosen"]["blocks.1.ffn.0"]["format"] == KEEP
    assert kept["formats"] == {"int8-channel": 19}


def test_an_override_is_not_searched(planted, tmp_path):
    rules = tuple(parse_overrides("blocks.1.ffn.0 = int8\nblocks.0.ffn.* = keep"))
    report = convert(planted, tmp_path / "out.safetensors", Options(target_snr=30.0, overrides=rules))
    assert report["layers"]["blocks.1.ffn.0"] == "int8-channel"
    assert "the rule" in report["kept"]["blocks.0.ffn.0"]
    assert len(report["chosen"]) == 17 and "blocks.1.ffn.0" not in report["chosen"]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A Wan with 160 layers."""
    path = tmp_path_factory.mktemp("many") / "wan.safetensors"
    made = dit(0, WanSize(dim=128, ffn=128, blocks=16, text=64), image_to_video=False)
    save_file({name: tensor.to(torch.bfloat16).contiguous() for name, tensor in made.items()}, path)
    return path


@pytest.mark.parametrize("dialect,share", [(LIGHTX2V, 0.5), (LIGHTX2V, 0.7), (COMFYUI, 0.75)])
def test_the_file_has_the_size_that_was_asked_for(dialect, share, many, tmp_path):
    room = int(share * many.stat().st_size)
    target = tmp_path / "out.safetensors"
    names = ("int4-g128", "int8", "fp8") if dialect == LIGHTX2V else ("int8", "fp8-tensor")
    report = convert(many, target, Options(target_size=room, dialect=dialect, candidates=names))
    assert 0.99 * room <= target.stat().st_size <= room
    assert len(report["chosen"]) == 160
    assert len({entry["format"] for entry in report["chosen"].values()}) > 1


@pytest.mark.parametrize("dialect", [LIGHTX2V, COMFYUI, X2V])
def test_the_size_has_room_for_smoothing(dialect, many, tmp_path):
    calibration = Calibration()
    for name, tensor in load_file(many).items():
        if name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2:
            maxima = torch.ones(tensor.shape[1])
            maxima[5] = 50
            calibration.add(name.removesuffix(".weight"), maxima, (maxima / 4).square(), 1)
    room, target = int(0.6 * many.stat().st_size), tmp_path / "out.safetensors"
    options = Options(target_size=room, dialect=dialect, candidates=("int8",), calibration=calibration, alpha=0.75)
    report = convert(many, target, options)
    assert 0.97 * room <= target.stat().st_size <= room
    smoothed = [name for name in load_file(target) if "affine_norm" in name or "pre_quant_scale" in name]
    assert bool(smoothed) == (dialect != COMFYUI)
    # outliers that nobody smooths are what is measured
    assert max(entry["snr_db"] or 0 for entry in report["chosen"].values()) < 35


@pytest.mark.parametrize(
    "options,match",
    [
        (Options(target_size=10**6), r"does not fit into 0\.001 GB: with these candidates it takes 0\.00\d GB"),
        (Options(target_size=10**9), r"fits into 1\.000 GB without being quantized"),
        (
            Options(target_snr=90.0),
            r"No format has an output SNR of 90 dB in any layer: the best is .* with \d+\.\d dB",
        ),
        (Options(target_snr=30.0, target_size=10**7), "not for both"),
        (Options(target_snr=30.0, format="int8"), "leave int8 out"),
        (Options(candidates=("int8",), format="int8"), "Candidates are what a search chooses from"),
        (Options(target_snr=30.0, candidates=("fp8",), dialect=COMFYUI), "among the candidates"),
    ],
)
def test_what_cannot_be_searched(options, match, source, tmp_path):
    with pytest.raises(ConvertError, match=match) as caught:
        convert(source, tmp_path / "out.safetensors", options)
    assert str(caught.value).count(". ") <= 2
    assert list(tmp_path.iterdir()) == [source.parent]


def test_a_search_without_an_unquantized_layer(source, converted, tmp_path):
    quantized = converted(source, format="int8")
    report = convert(quantized, tmp_path / "again.safetensors", Options(target_snr=20.0))
    assert report["formats"] == {"int8-channel": 20}
    assert report["chosen"] == {}


def test_progress_counts_what_is_measured_and_then_what_is_written(source, tmp_path):
    steps = []
    options = Options(target_snr=20.0, candidates=("int8",))
    convert(source, tmp_path / "out.safetensors", options, lambda done, total: steps.append((done, total)))
    totals = list(dict.fromkeys(total for _, total in steps))
    assert len(totals) == 2
    for total in totals:
        counted = [done for done, of in steps if of == total]
        assert counted == sorted(counted) and counted[-1] == total


def test_the_command_prints_what_it_chose(planted, tmp_path, capsys):
    command = ["convert", str(planted), str(tmp_path / "out.safetensors"), "--target-snr", "30"]
    assert main([*command, "--candidates", "int4-g128, int8,fp8"]) == 0
    said = capsys.readouterr().out
    assert "| searched layers | format | layers | GB | lowest SNR |" in said
    assert "| blocks.*.ffn.0 | fp8-channel | 1 |" in said
    assert "| blocks.*.self_attn.q | int8-channel | 2 |" in said
    assert main([*command, "--candidates", "int8", "--overwrite", "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["chosen"]
    assert chosen["blocks.1.ffn.0"] == {"format": "keep", "snr_db": None, "bytes": chosen["blocks.1.ffn.0"]["bytes"]}


def test_the_command_takes_a_size(many, tmp_path, capsys):
    target = tmp_path / "out.safetensors"
    command = ["convert", str(many), str(target), "--target-size", "0.0055", "--candidates", "int4-g128,int8"]
    assert main(command) == 0
    assert 0.99 * 5.5e6 <= target.stat().st_size <= 5.5e6
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--target-snr", "20"])
    assert stopped.value.code == 2
