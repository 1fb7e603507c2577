"""Every kernel computes the smoothed variant of its formats: which rows there are, what is chosen, and the numbers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from x2v_quant.formats import FORMATS, ROTATED, SMOOTHED
from x2v_quant.kernels import KERNELS, choose, why_not
from x2v_quant.kernels.declare import declare, smoothed
from x2v_quant.kernels.libraries import Library
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.kernels.probe import failure
from x2v_quant.kernels.reference import reference
from x2v_quant.kernels.torchao import MATMULS
from x2v_quant.schemes import DIT, SCHEMES, schemes_for

DEVICE = default_device()
RELEASES = Path(__file__).parent.parent / "data" / "signatures"
N, K = 256, 384
# formats that need a K of their own
WIDTHS = {SMOOTHED[name]: max(group, 512) for group, name in ROTATED.items()}
# the packages that have a record of their functions, by the name of their kernels
RECORDED = {"vllm": "vllm", "sgl": "sgl-kernel", "torchao": "torchao"}
LIBRARIES = frozenset({"vllm", "sgl-kernel", "triton", "triton 3.5 or newer", "comfy-kitchen int8", "torchao"})
H200 = Machine("cuda", "H200", (9, 0), libraries=LIBRARIES)
RTX_4090 = Machine("cuda", "RTX 4090", (8, 9), libraries=LIBRARIES | {"q8-kernels"})
RTX_5090 = Machine("cuda", "RTX 5090", (12, 0), libraries=LIBRARIES)


def smoothed_layer(format_name, outliers=0.02, dtype=torch.float32):
    """(weight, the same smoothed, activations, bias); every tenth channel has large activations and small weights."""
    generator = torch.Generator().manual_seed(0)
    columns = WIDTHS.get(format_name, K)
    factor = torch.rand(columns, generator=generator) + 0.5
    factor[::10] *= outliers
    weight = torch.randn((N, columns), generator=generator) / columns**0.5
    weight[:, ::10] *= outliers
    x = torch.randn((33, columns), generator=generator)
    x[:, ::10] /= outliers
    stored = FORMATS[format_name].quantize(weight, dtype, pre_quant_scale=factor)
    return weight, stored, x.to(dtype), torch.randn(N, generator=generator)


@pytest.mark.parametrize("plain,smooth", SMOOTHED.items())
def test_what_computes_a_format_computes_it_smoothed(plain, smooth):
    """Under the same name, with the same requirements."""

    def rows(name):
        return [(kernel.name, kernel.requires) for kernel in KERNELS if kernel.format == name]

    assert rows(plain) == rows(smooth)
    assert rows(plain)


@pytest.mark.parametrize(
    "scheme",
    [row for row in SCHEMES if row.format in SMOOTHED and row.kernel is not None],
    ids=lambda row: row.name,
)
@pytest.mark.parametrize("machine", [H200, RTX_4090, RTX_5090], ids=str)
def test_a_scheme_takes_the_kernel_that_it_would_take_without_smoothing(scheme, machine):
    smooth = SMOOTHED[scheme.format]
    plain_choice, choice = (choose(name, machine, (N, K), scheme.kernel) for name in (scheme.format, smooth))
    assert choice.kernel.name == plain_choice.kernel.name
    assert choice.format == SMOOTHED[plain_choice.format]
    assert choice.passed_over == plain_choice.passed_over
    assert why_not(scheme.kernel, smooth, machine) == why_not(scheme.kernel, scheme.format, machine)


def test_float16_sums_are_smoothed_in_their_reduced_range():
    choice = choose("fp8-channel-smooth", RTX_5090, (N, K), "triton-f16")
    assert (choice.kernel.name, choice.format) == ("triton-f16", "fp8-reduced-smooth")


def test_a_smoothed_file_has_the_schemes_of_its_family():
    families = {FORMATS[name].family for name in ("int8-channel-smooth",)}
    assert schemes_for(families, DIT) == schemes_for({"int8-channel"}, DIT)


CASES = [
    pytest.param(kernel, kernel.format, id=f"{kernel.name}-{kernel.format}-{i}")
    for i, kernel in enumerate(KERNELS)
    if FORMATS[kernel.format].smooth and kernel.requires.unmet(describe(DEVICE)) is None
]


@pytest.mark.parametrize(
    "kernel,format_name,dtype",
    [
        pytest.param(*case.values, dtype, id=f"{dtype}-{case.id}")
        for case in CASES
        for dtype in (torch.float32, torch.bfloat16)
        if dtype in (case.values[0].requires.dtypes or (dtype,))
    ],
)
def test_any_factor_is_computed_right(kernel, format_name, dtype):
    _, stored, x, bias = smoothed_layer(format_name, dtype=dtype)
    stored = stored.to(DEVICE)
    y = kernel.linear(x.to(DEVICE), stored._qdata, stored._params, bias.to(DEVICE)).float().cpu()
    stored = stored.to("cpu")
    expected = reference(x.float(), format_name, stored._qdata, stored._params, bias, kernel.activation)
    # a pass of its own rounds x * pre_quant_scale to 16 bits, so that a few codes are their neighbours
    limit = 1e-5 if dtype == torch.float32 else 0.01
    if kernel.name == "comfyui" and FORMATS[format_name].rotation:
        # it rotates by sums in another order: what is nearly halfway between two codes may become either
        limit = 1e-3
    assert (y - expected).norm() <= limit * expected.norm()


def test_our_int8_kernel_does_not_round_the_product():
    """In bfloat16 it would be off by 0.2 %, which is a code in two hundred."""
    _, stored, x, bias = smoothed_layer("int8-channel-smooth", dtype=torch.bfloat16)
    stored, x, bias = stored.to(DEVICE), x.to(DEVICE), bias.to(DEVICE)
    plain, smooth = (
        next(k for k in KERNELS if k.name == "torch" and k.format == name and k.requires.kind == DEVICE.type)
        for name in ("int8-channel", "int8-channel-smooth")
    )
    factor = stored._params.pre_quant_scale
    y = smooth.linear(x, stored._qdata, stored._params, bias)
    exact = plain.linear(x.float() * factor, stored._qdata, stored._params, bias)
    assert torch.equal(y, exact.to(torch.bfloat16))
    rounded = plain.linear(smoothed(x, factor), stored._qdata, stored._params, bias)
    assert not torch.equal(rounded, y)


@pytest.mark.parametrize("format_name", ["int8-channel-smooth", "fp8-channel-smooth"])
def test_outliers_cost_less_where_they_are_smoothed(format_name):
    weight, stored, x, _ = smoothed_layer(format_name)
    exact = x @ weight.t()
    activation = FORMATS[format_name].activation
    smooth = reference(x, format_name, stored._qdata, stored._params, None, activation)
    plain = FORMATS[FORMATS[format_name].family].quantize(weight, torch.float32)
    family = FORMATS[format_name].family
    rough = reference(x, family, plain._qdata, plain._params, None, FORMATS[family].activation)
    assert (smooth - exact).norm() < (0.5 if "int8" in format_name else 1.2) * (rough - exact).norm()


@pytest.mark.parametrize(
    "name,library,format_name",
    [
        (name, library, format_name)
        for name, library in RECORDED.items()
        for format_name in ("int8-channel-smooth", "fp8-channel-smooth")
        # torch's own row-wise matmul, which no CPU has
        if (name, format_name) != ("torchao", "fp8-channel-smooth")
    ],
)
def test_a_library_gets_activations_that_are_smoothed(recorded, monkeypatch, name, library, format_name):
    """The real library's signatures behind the derived row: what it multiplies is the smoothed layer."""
    kernels = [k for k in KERNELS if k.name == name and k.format == format_name]
    release = json.loads((RELEASES / f"{library}.json").read_text(encoding="utf-8"))[0]
    functions = recorded(release)
    loaded = functions if name != "torchao" else next(getattr(functions, n) for n in MATMULS if hasattr(functions, n))
    monkeypatch.setattr(Library, "loaded", lambda self: loaded)
    _, stored, x, bias = smoothed_layer(format_name, dtype=torch.bfloat16)
    y = kernels[0].linear(x, stored._qdata, stored._params, bias)
    expected = reference(x.float(), format_name, stored._qdata, stored._params, bias, kernels[0].activation)
    # the product is rounded to bfloat16 before it is quantized: codes between two are the other one, e4m3's 6 % away
    assert (y.float() - expected).norm() <= (0.01 if "int8" in format_name else 0.03) * expected.norm()
    assert functions.called


def test_a_kernel_that_forgets_to_smooth_is_found_out():
    def multiply(x, weight, bias):
        y = x @ (weight.codes.float() * weight.scale).to(x.dtype).t()
        return y if bias is None else y + bias

    plain, derived = declare("odd", "int8-channel", "for a test", fused=multiply)
    assert (derived.format, derived.activation) == ("int8-channel-smooth", "float")
    assert failure(derived, torch.device("cpu")) is None
    wrong = replace(derived, linear=plain.linear)
    assert "wrong numbers" in failure(wrong, torch.device("cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_activations_are_multiplied_in_float32_and_rounded_once(dtype):
    x = torch.randn(7, 40).to(dtype).t().contiguous().t()
    factor = torch.rand(40) + 0.01
    y = smoothed(x, factor)
    assert y.dtype == dtype
    assert torch.equal(y, (x.float() * factor).to(dtype))
    assert smoothed(x[:0], factor).shape == (0, 40)
