"""A kernel that computes nonsense here, or nothing at all, is found out before it is used."""

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, Kernel, choose, why_not
from x2v_quant.kernels.dequant import ROWS as DEQUANT
from x2v_quant.kernels.machine import default_device, describe
from x2v_quant.kernels.probe import ROWS, failure

DEVICE = default_device()
GOOD = next(row for row in DEQUANT if row.format == "int8-channel")


def kernel(linear, activation="float"):
    return Kernel("odd", "int8-channel", linear, activation, "for a test")


def broken(x, codes, params, bias):
    raise RuntimeError("no kernel image is available\nfor execution")


def off_by_one_scale(x, codes, params, bias):
    return GOOD.linear(x, codes, params, bias) * 1.1


def one_row_wrong(x, codes, params, bias):
    y = GOOD.linear(x, codes, params, bias)
    y[-1] = 0
    return y


def nan(x, codes, params, bias):
    return GOOD.linear(x, codes, params, bias) * float("nan")


def saturating(x, codes, params, bias):
    """Unsigned x and int16 sums of two products, as CPUs without VNNI have them: only extreme codes show it."""
    scale = x.float().abs().amax(1, keepdim=True) / 127
    values = (x.float() / scale).round()[:, None] + 128
    pairs = values[..., 0::2] * codes[None, :, 0::2] + values[..., 1::2] * codes[None, :, 1::2]
    sums = pairs.clamp(-32768, 32767).sum(-1) - 128 * codes.float().sum(1)
    return (sums * scale * params.scale.t() + bias.float()).to(x.dtype)


@pytest.mark.parametrize(
    "linear,words",
    [
        (broken, "fails on this device: no kernel image is available"),
        (off_by_one_scale, "wrong numbers"),
        (one_row_wrong, "wrong numbers"),
        (nan, "wrong numbers"),
        (lambda x, *_: x, "output of shape [33, 512]"),
    ],
    ids=["raises", "scale", "row", "nan", "shape"],
)
def test_a_bad_kernel_is_disqualified_with_the_reason(linear, words):
    assert words in failure(kernel(linear), DEVICE)


def test_saturation_shows():
    assert "wrong numbers" in failure(kernel(saturating, "int8"), torch.device("cpu"))


def test_a_good_kernel_passes_and_is_asked_once():
    calls = []

    def counted(*args):
        calls.append(1)
        return GOOD.linear(*args)

    row = kernel(counted)
    assert failure(row, DEVICE) is None
    assert failure(row, DEVICE) is None
    assert len(calls) == len(ROWS[DEVICE.type])


def test_the_next_kernel_takes_over(monkeypatch):
    monkeypatch.setattr("x2v_quant.kernels.registry.KERNELS", [kernel(broken), *KERNELS])
    choice = choose("int8-channel", describe(DEVICE), prefer="odd")
    assert choice.kernel.name != "odd"
    assert choice.passed_over["odd"].startswith("fails on this device")


@pytest.mark.parametrize("format_name", FORMATS)
def test_every_format_is_probed_with_some_kernel(format_name):
    """The probe's small weight is one that every format can hold."""
    assert why_not("reference", format_name, describe(DEVICE)) is None
    choice = choose(format_name, describe(DEVICE))
    assert failure(choice.kernel, DEVICE) is None
