"""A search with a calibration measures what is written: the smoothed layers."""

import math

import pytest
import torch
from older_comfyui import core_rotates_int8
from safetensors.torch import load_file, save_file

from x2v_quant.calibration import Calibration
from x2v_quant.calibration.output_error import drawn_activations
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting.convert import Options, convert
from x2v_quant.formats import FORMATS, ROTATED
from x2v_quant.kernels.reference import reference
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.layer_rules.overrides import KEEP

OUTLIERS, SIZE = (3, 40, 77), 200.0
# dB that every format reaches
ANY = -50.0
QKV = tuple(f"self_attn.{name}" for name in "qkv")


@pytest.fixture(scope="module")
def planted(tensors, tmp_path_factory):
    """(path, weights, calibration): a Wan in bfloat16 whose layers get a few outlier channels, with columns as small;
    q, k and v of a block see the same."""
    weights, calibration = {name: tensor.clone() for name, tensor in tensors.items()}, Calibration(calls=1)
    for name, tensor in weights.items():
        if name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2:
            tensor[:, OUTLIERS] /= SIZE
            maxima = torch.linspace(1, 4, tensor.shape[1])
            maxima[list(OUTLIERS)] *= SIZE
            calibration.add(name.removesuffix(".weight"), maxima, (maxima / 4).square() * 100, 100)
    path = tmp_path_factory.mktemp("planted") / "wan.safetensors"
    save_file(weights, path)
    return path, weights, calibration


def ratios(path, weights, calibration):
    """Layer -> dB of its output, as the reference kernel computes the file's layer."""
    found = {}
    for layer, stored in open_checkpoint(path).load().quantized.items():
        row = FORMATS[stored.format]
        weight = stored.wrap(torch.float32)
        x = drawn_activations(calibration.maxima[layer], calibration.deviations(layer))
        true = x @ weights[f"{layer}.weight"].float().t()
        y = reference(x, stored.format, weight._qdata, weight._params, None, row.activation)
        found[layer] = 10 * math.log10(float(true.square().sum() / (y - true).square().sum()))
    return found


def converted(planted, tmp_path, **options):
    """(report, formats in the file, path)"""
    path, _, calibration = planted
    target = tmp_path / "out.safetensors"
    report = convert(path, target, Options(calibration=calibration, **options))
    return report, {layer: entry.format for layer, entry in open_checkpoint(target).layers.items()}, target


@pytest.mark.parametrize("rules", ["", "self_attn.q = fp8-channel"], ids=["all", "one-override"])
@pytest.mark.parametrize("dialect", [X2V, LIGHTX2V])
@pytest.mark.parametrize("target_snr", [17.0, 30.0, 38.0])
def test_the_files_layers_have_the_ratio_that_is_printed(target_snr, dialect, rules, planted, tmp_path):
    overrides = tuple(parse_overrides(rules))
    names = ("int4-g128", "int8", "fp8")
    report, stored, target = converted(
        planted, tmp_path, target_snr=target_snr, dialect=dialect, candidates=names, overrides=overrides
    )
    real = ratios(target, *planted[1:])
    for layer, entry in report["chosen"].items():
        if entry["format"] == KEEP:
            assert layer not in stored
        else:
            assert FORMATS[stored[layer]].family == entry["format"]
            assert real[layer] == pytest.approx(entry["snr_db"], abs=0.1)
            assert real[layer] >= target_snr - 0.1


@pytest.mark.parametrize("dialect,smoothed", [(X2V, 20), (LIGHTX2V, 8), (COMFYUI, 0)])
def test_smoothed_layers_are_measured_as_such(dialect, smoothed, planted, tmp_path):
    """LightX2V's norms smooth four layers of a block; what no dialect smooths has the outliers in its ratio."""
    report, stored, _ = converted(planted, tmp_path, target_snr=ANY, dialect=dialect, candidates=("int8",))
    assert sum(FORMATS[name].smooth for name in stored.values()) == smoothed
    for layer, name in stored.items():
        assert (report["chosen"][layer]["snr_db"] > 35) == FORMATS[name].smooth, layer


@core_rotates_int8
def test_rotated_layers_are_smoothed_in_the_groups_that_fit_them(planted, tmp_path):
    report, stored, target = converted(planted, tmp_path, target_snr=ANY, dialect=X2V, candidates=("int8-convrot",))
    assert len(stored) == 20
    assert {name.removesuffix("-smooth") for name in stored.values()} <= set(ROTATED.values())
    real = ratios(target, *planted[1:])
    for layer, name in stored.items():
        assert FORMATS[name].smooth, layer
        assert real[layer] == pytest.approx(report["chosen"][layer]["snr_db"], abs=0.1)


def test_lightx2vs_norms_are_fed_to_layers_of_one_format(planted, tmp_path):
    """Else none of them could be smoothed."""
    _, stored, _ = converted(planted, tmp_path, target_snr=33.0, dialect=LIGHTX2V, candidates=("int8", "fp8"))
    for block in range(2):
        assert {stored[f"blocks.{block}.{layer}"] for layer in QKV} == {"int8-channel-smooth"}


def test_an_override_among_them_leaves_the_others_unsmoothed(planted, tmp_path):
    rules = tuple(parse_overrides("self_attn.q = int8"))
    *_, target = converted(planted, tmp_path, target_snr=ANY, dialect=LIGHTX2V, candidates=("int8",), overrides=rules)
    found = load_file(target)
    assert bool((found["blocks.0.affine_norm1.weight"] == 1).all())
    assert bool((found["blocks.0.affine_norm3.weight"][list(OUTLIERS)] < 0.2).all())
