"""The benchmark of x2v-quant convert does on both sides what it says, and leaves nothing behind."""

import shutil
import tempfile

import pytest
import torch

from x2v_quant.benchmarks import file_converting, run, shapes
from x2v_quant.checkpoints import open_checkpoint
from x2v_quant.kernels.timing.clock import FULL, QUICK


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source.safetensors"
    file_converting.write_source(path, file_converting.dense(file_converting.QUICK_MODEL, 1))
    return path


def test_the_source_has_two_gigabytes_of_14b_layers():
    specs = file_converting.dense(shapes.WAN_14B, file_converting.BLOCKS)
    assert 2e9 < sum(spec.nbytes for name, spec in specs.items() if name.startswith("blocks.")) < 2.2e9
    layers = {name: spec.shape for name, spec in specs.items() if name.startswith("blocks.") and len(spec.shape) == 2}
    layers = {name: shape for name, shape in layers.items() if name.endswith(".weight")}
    assert len(layers) == 10 * file_converting.BLOCKS
    assert set(layers.values()) == set(shapes.WAN_14B.sizes())


@pytest.mark.parametrize("format_name", file_converting.FORMATS)
def test_both_sides_write_what_they_say(format_name, source):
    for side in file_converting.work(source, format_name).values():
        side()
    assert file_converting.target(source, "theirs").read_bytes() == source.read_bytes()
    checkpoint = open_checkpoint(file_converting.target(source, "ours"))
    assert checkpoint.formats == {format_name: 10}
    held = sum(torch.Size(layer.shape).numel() for layer in checkpoint.layers.values())
    weights = open_checkpoint(source).tensors.items()
    assert held == sum(info.nbytes for name, info in weights if name.startswith("blocks.") and len(info.shape) == 2) / 2


def test_the_values_are_those_of_linear_layers(source):
    weight = open_checkpoint(source).load().plain["blocks.0.ffn.2.weight"].float()
    assert weight.shape == (512, 1024)
    assert float(weight.std()) == pytest.approx(1024**-0.5, rel=0.02)


def test_a_quick_run_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    cases = file_converting.cases(QUICK)
    assert [case.name.split(" to ")[1] for case in cases] == [
        f"{name} vs copying it" for name in file_converting.FORMATS
    ]
    assert all(case.ratio > 0 and case.target == 0.5 and case.unit == "s" for case in cases)
    assert not list(tmp_path.iterdir())
    assert file_converting.PART in run.PARTS


def test_without_room_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**10, 5 * 10**9, 5 * 10**9))
    monkeypatch.setattr(file_converting, "write_source", None)
    cases = file_converting.cases(FULL)
    assert len(cases) == len(file_converting.FORMATS)
    assert all(case.absent == "needs 8 GB of free disk, there are 5.0" and case.met is None for case in cases)


@pytest.mark.slow
def test_peak_memory_has_the_largest_layer_but_not_the_file(tmp_path):
    path = tmp_path / "source.safetensors"
    model = shapes.Model("medium", "dit", width=2048, mlp=8192, heads=16, blocks=1, layers=())
    specs = file_converting.dense(model, 1)
    file_converting.write_source(path, specs)
    codes = max(spec.nbytes for spec in specs.values()) / 2
    rise = file_converting.memory(path, "int8-channel")
    assert codes < rise * 1e6 < path.stat().st_size
    assert not file_converting.target(path, "ours").exists()
