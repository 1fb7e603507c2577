"""A layer with outlier channels through what Quantize Model does with it: calibrated, smoothed, rotated, computed."""

import pytest
import torch
from distance import decibels
from older_comfyui import core_rotates_int8

from x2v_quant.calibration import Calibration
from x2v_quant.kernels.machine import describe
from x2v_quant.linear import operations
from x2v_quant.quantizing.layer import Job, quantize_layer
from x2v_quant.quantizing.smoother import Smoother
from x2v_quant.schemes import resolve
from x2v_quant.schemes.plan import Plan

pytestmark = [core_rotates_int8, pytest.mark.usefixtures("inference")]
# of Wan 14B; 1 % of the channels are so much larger than the others
ROWS, WIDTH, TOKENS, SIZES = 512, 5120, 256, (20, 50)
CPU = torch.device("cpu")
# format, calibrated -> least dB
LEAST = {("int8-convrot", False): 37, ("int8-convrot", True): 45}


@pytest.fixture(scope="module")
def layer():
    """(linear layer, tokens to calibrate with, others to judge by)"""
    generator = torch.Generator().manual_seed(0)
    sizes = torch.ones(WIDTH)
    channels = torch.randperm(WIDTH, generator=generator)[: WIDTH // 100]
    sizes[channels] = torch.empty(len(channels)).uniform_(*SIZES, generator=generator)
    made = torch.nn.Linear(WIDTH, ROWS)
    made.weight.data = torch.randn((ROWS, WIDTH), generator=generator) * 0.02
    return made, *(torch.randn((TOKENS, WIDTH), generator=generator) * sizes for _ in range(2))


def output_snr(layer, format_name, calibrated):
    """dB of the layer's output with the reference kernel, and the format that the layer got."""
    linear, seen, x = layer
    smoother = None
    if calibrated:
        calibration = Calibration(calls=1)
        calibration.add("a", seen.abs().amax(dim=0), seen.square().sum(dim=0), TOKENS)
        smoother = Smoother(calibration)
    plan = Plan("model", resolve("reference"), describe(CPU), torch.float32)
    made = quantize_layer(Job("a", "a.weight", linear, format_name, (), smoother), plan, operations(plan), CPU)
    return decibels(linear(x), made(x)), plan.layers["a"].choice.format


@pytest.mark.parametrize(("format_name", "calibrated"), LEAST, ids=str)
def test_decibels(layer, format_name, calibrated):
    snr, stored = output_snr(layer, format_name, calibrated)
    print(f"{stored}: {snr:.1f} dB")
    assert stored == format_name + ("-smooth" if calibrated else "")
    assert snr >= LEAST[format_name, calibrated]


def test_neither_alone_is_as_exact(layer):
    """So that the bounds above are not what any int8 reaches."""
    assert output_snr(layer, "int8-channel", False)[0] < 25
    assert output_snr(layer, "int8-channel", True)[0] < 45
