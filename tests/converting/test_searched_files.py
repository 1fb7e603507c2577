"""Files that a search made: their formats, their size, what is printed."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from x2v_quant.benchmarks.wan import WanSize, dit
from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.cli import main
from x2v_quant.converting import ConvertError, search
from x2v_quant.converting.convert import Options, convert
from x2v_quant.layer_rules import parse_overrides
from x2v_quant.layer_rules.overrides import KEEP


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
    # where nothing is smoothed the outliers are what is measured
    best = max(entry["snr_db"] or 0 for entry in report["chosen"].values())
    assert best < 35 if dialect == COMFYUI else best > 40


@pytest.mark.parametrize(
    "options,match",
    [
        (Options(target_size=10**6), r"does not fit into 1\.00 MB: with these candidates it takes \d\.\d\d MB"),
        (Options(target_size=10**9), r"fits into 1\.00 GB without being quantized"),
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
    assert "| searched layers | format | layers | size | lowest SNR |" in said
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
