"""The command's progress: a bar for what is measured and one for what is written."""

import pytest
import torch
from safetensors.torch import load_file

from x2v_quant.calibration import Calibration
from x2v_quant.checkpoints.encodings import COMFYUI, LIGHTX2V, X2V
from x2v_quant.converting import command
from x2v_quant.converting.convert import Options, convert


class Bar:
    """What tqdm is told."""

    def __init__(self, total, desc, **_):
        self.total, self.desc, self.n, self.open = total, desc, 0, True

    def update(self, count):
        assert self.open and count >= 0
        self.n += count

    def close(self):
        self.open = False


@pytest.fixture
def bars(monkeypatch):
    """bars(source, target, options) -> the bars that were shown"""

    def run(source, target, options):
        shown = []
        monkeypatch.setattr(command, "tqdm", lambda **told: shown.append(Bar(**told)) or shown[-1])
        words = ["measuring", "writing"] if options.measures else ["writing"]
        convert(source, target, options, command.Bars(words))
        return shown

    return run


def calibration_of(source):
    seen = Calibration(calls=1)
    for name, tensor in load_file(source).items():
        if name.startswith("blocks.0.") and name.endswith(".weight") and tensor.ndim == 2:
            maxima = torch.linspace(1, 50, tensor.shape[1])
            seen.add(name.removesuffix(".weight"), maxima, maxima.square(), 1)
    return seen


SEARCH = {"target_snr": 20.0, "candidates": ("int8", "fp8-tensor")}
CASES = {
    "plain": ({"format": "int8"}, False),
    "search": (SEARCH, False),
    "search in ComfyUI's": ({**SEARCH, "dialect": COMFYUI}, True),
    "smoothing": ({"format": "int8", "dialect": X2V}, True),
    "smoothing in LightX2V's": ({"format": "int8", "dialect": LIGHTX2V}, True),
    "both": (SEARCH, True),
}


@pytest.mark.parametrize("case", CASES)
def test_every_bar_has_its_word_and_is_full_at_the_end(case, source, tmp_path, bars):
    asked, calibrated = CASES[case]
    calibration = calibration_of(source) if calibrated else None
    shown = bars(source, tmp_path / "out.safetensors", Options(**asked, calibration=calibration))
    assert [bar.desc for bar in shown] == (["writing"] if case == "plain" else ["measuring", "writing"])
    assert all(bar.n == bar.total > 0 and not bar.open for bar in shown)


def test_a_source_of_which_nothing_is_left_to_measure(source, tmp_path, bars):
    quantized = tmp_path / "quantized.safetensors"
    convert(source, quantized, Options(format="int8"))
    shown = bars(quantized, tmp_path / "out.safetensors", Options(target_snr=20.0))
    assert [(bar.desc, bar.n == bar.total) for bar in shown] == [("measuring", True), ("writing", True)]
