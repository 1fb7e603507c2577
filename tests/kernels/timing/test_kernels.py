"""`bench --kernels`: every runnable kernel is timed at the shapes of a model, and the winners steer auto."""

import json

import pytest
import torch

from x2v_quant import cli
from x2v_quant.benchmarks.models import write_pair
from x2v_quant.benchmarks.wan import WanSize
from x2v_quant.core import features
from x2v_quant.formats import FORMATS
from x2v_quant.kernels import choose, survey, winners
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.kernels.timing import kernels
from x2v_quant.kernels.timing.clock import Effort

HERE = describe(default_device())
SIZE = WanSize(dim=128, ffn=256, blocks=1)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("X2V_QUANT_HOME", str(tmp_path))
    winners._saved.cache_clear()
    yield tmp_path
    winners._saved.cache_clear()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_pair(tmp_path_factory.mktemp("bench"), SIZE, "int8")[1])


def test_a_models_own_shapes_and_formats(model):
    work = kernels.work(model, HERE)
    assert {name: sorted(shapes) for name, shapes in work.items()} == {
        "int8-channel": [(128, 128), (128, 256), (256, 128)]
    }


@pytest.mark.parametrize(
    "machine,shapes",
    [
        (Machine("cpu", "CPU"), kernels.WAN_1_3B),
        (Machine("cuda", "H200", (9, 0)), (*kernels.WAN_1_3B, *kernels.WAN_14B)),
    ],
    ids=["a-cpu", "an-h200"],
)
def test_without_a_model_every_format_at_wans_shapes(machine, shapes):
    work = kernels.work(None, machine)
    assert set(work) == {name for name, row in FORMATS.items() if row.family == name}
    assert all(tuple(listed) == shapes for listed in work.values())


def test_every_runnable_kernel_is_timed(model, settings):
    cases = kernels.cases(model, tokens=4, effort=Effort(rounds=1, least=1))
    runs = survey("int8-channel", HERE, dtype=torch.bfloat16)
    wanted = {name for name, reason in runs.items() if reason is None} - kernels.UNTIMED
    assert {case.name.split()[1] for case in cases} == wanted
    assert len(cases) == 3 * len(wanted)
    assert all(case.ours > 0 and case.theirs > 0 for case in cases)
    assert not (settings / "kernels.json").exists()


def test_the_command_saves_winners_and_figures(model, settings, capsys):
    arguments = ["bench", "--kernels", model, "--tokens", "4", "--save", "--results", str(settings), "--json"]
    assert cli.main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    (file,) = [f for f in settings.glob("*.json") if f.name != "kernels.json"]
    assert json.loads(file.read_text()) == report
    assert {"torch", "python", "comfyui", "comfy-kitchen"} <= set(report["versions"])
    best = {}
    for case in report["cases"]:
        _, kernel, shape, *_ = case["name"].split()
        _, k, n = (int(part) for part in shape.split("x"))
        best.setdefault((n, k), []).append((case["ours"], kernel))
    for shape, times in best.items():
        assert choose("int8-channel", HERE, shape).kernel.name == min(times)[1]


def test_a_core_without_int8_is_told_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(features, "reads_int8", lambda: False)
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "--quick", "--part", "linear"])
    assert stop.value.code == 1
    assert "Set COMFYUI_PATH to 0.27 or newer, or run bench --kernels." in capsys.readouterr().err


def test_a_file_that_is_no_model_is_one_sentence(tmp_path, capsys):
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(SystemExit) as stop:
        cli.main(["bench", "--kernels", str(tmp_path / "bad.safetensors")])
    assert stop.value.code == 1
    assert "bad.safetensors" in capsys.readouterr().err
