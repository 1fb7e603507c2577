"""Single wide layers: what their inputs are like, and what formats leave of their output."""

import pytest
import torch

from x2v_quant.benchmarks.fidelity import ggml, wide, wide_layer
from x2v_quant.benchmarks.fidelity.contestants import BASELINE, GGUF_ROWS, contestants
from x2v_quant.benchmarks.fidelity.peers import GGUF_FORMATS
from x2v_quant.benchmarks.fidelity.wide_layer import Layer, Width
from x2v_quant.kernels.machine import default_device, describe

pytestmark = pytest.mark.usefixtures("inference")
PLAIN, LOUD = Width("plain", 512), Width("loud", 512, outliers=True)


@pytest.fixture(scope="module")
def layers():
    return {width.name: Layer(width) for width in (PLAIN, LOUD)}


def test_one_channel_in_a_hundred_is_loud(layers):
    size = layers["loud"].inputs.mean_squares / layers["plain"].inputs.mean_squares
    loud = size.sqrt() > 10
    assert int(loud.sum()) == round(0.01 * 512)
    assert bool(((size[loud].sqrt() > 18) & (size[loud].sqrt() < 55)).all())
    assert bool(((size[~loud] > 0.8) & (size[~loud] < 1.2)).all())


def test_channels_go_together(layers):
    tokens = layers["plain"].inputs.tokens
    energies = torch.linalg.eigvalsh(tokens.t() @ tokens).flip(0)
    shares = [float(energies[:count].sum() / energies.sum()) for count in (1, 51)]
    harmonic = [sum(1 / i for i in range(1, count + 1)) for count in (1, 51, 512)]
    assert shares == pytest.approx([part / harmonic[2] for part in harmonic[:2]], rel=0.1)
    # and every one of them over all channels
    assert bool((layers["plain"].inputs.mean_squares < 3).all())


def test_what_is_judged_was_not_recorded(layers):
    layer = layers["plain"]
    assert layer.x.shape == (wide_layer.JUDGED, 512) and layer.inputs.tokens.shape == (wide_layer.TOKENS, 512)
    assert torch.cdist(layer.x[:8], layer.inputs.tokens).min() > 1


@pytest.fixture(scope="module")
def figures():
    rows = contestants(describe(default_device()), torch.float32, gguf=False)
    with torch.inference_mode():
        return {row["name"]: row for row in wide.measure(rows, (PLAIN, LOUD))}


def test_everybody_but_16_bits_has_figures(figures):
    assert BASELINE.name not in figures
    assert {"ComfyUI nvfp4", "int8-channel (dequant)", "int8-channel (reference)"} <= figures.keys()
    assert not any("T5" in name or "torchao" in name for name in figures)
    for name, row in figures.items():
        assert row["output_snr"].keys() == {"plain", "loud"}
        assert 3.9 < row["bits"] < 9 and 8 < row["output_snr"]["plain"] < 60, name


def test_formats_fare_as_their_bits_allow(figures):
    # 8 bits of normally distributed values: 10 log10(12 (127 / 3.1)^2)
    assert 41 < figures["int8-channel (dequant)"]["output_snr"]["plain"] < 45
    assert figures["int8-channel (dequant)"]["bits"] == pytest.approx(8 + 32 / 512)
    assert figures["int4-g128 (dequant)"]["bits"] == pytest.approx(4.25)
    for quantized in ("int8-channel", "nvfp4"):
        weights, both = (figures[f"{quantized} ({kernel})"]["output_snr"] for kernel in ("dequant", "reference"))
        assert both["plain"] < weights["plain"] - 1


def test_loud_channels_cost_what_smoothing_and_rotation_give_back(figures):
    plain = figures["int8-channel (reference)"]["output_snr"]
    assert plain["loud"] < plain["plain"] - 8
    assert figures["int8-channel-smooth (reference)"]["output_snr"]["loud"] > plain["loud"] + 5
    if "int8-convrot (reference)" in figures:
        assert figures["int8-convrot (reference)"]["output_snr"]["loud"] > plain["loud"] + 5


def test_gptq_pays(figures):
    for quantized in ("int8-channel", "int4-g128", "nvfp4"):
        nearest, rounded = (figures[f"{quantized}{way} (dequant)"]["output_snr"]["plain"] for way in ("", ", GPTQ"))
        assert rounded > nearest + 2


def test_files_of_gguf_are_read_back():
    pytest.importorskip("gguf")
    rows = [row for row in GGUF_ROWS if ggml.find() is not None or not GGUF_FORMATS[row.file].needs_ggml]
    found = {row["name"]: row for row in wide.measure(rows, [LOUD])}
    assert found["ComfyUI-GGUF Q8_0"]["bits"] == 8.5
    assert 43 < found["ComfyUI-GGUF Q8_0"]["output_snr"]["loud"] < 49
    if ggml.find() is not None:
        plain, weighed = (found[f"ComfyUI-GGUF Q4_K{end}"] for end in ("", ", imatrix"))
        assert plain["bits"] == weighed["bits"] == 4.5
        assert weighed["output_snr"]["loud"] > plain["output_snr"]["loud"] + 3
