"""Kernels in two steps: quantize, then multiply, is what `linear` gives, bit for bit."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded import Recorded
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck

from x2v_quant.formats import FORMATS, ROTATED, ROTATIONS
from x2v_quant.kernels import KERNELS, deepgemm, torchao
from x2v_quant.kernels.libraries import Library
from x2v_quant.kernels.machine import default_device, describe

DEVICE = default_device()
SIGNATURES = Path(__file__).parent.parent / "data" / "signatures"
N, K = 256, 384
TWO_STEPS = [
    pytest.param(kernel, kernel.format, id=f"{kernel.name}-{kernel.format}-{index}")
    for index, kernel in enumerate(KERNELS)
    if kernel.steps is not None
]
RUNNABLE = [
    case for case in TWO_STEPS if case.values[0].requires.unmet(describe(DEVICE), (N, K), torch.float32) is None
]
# quantize x and multiply it in one call of a library's
IN_ONE_CALL = {(name, one) for name in ("comfy-kitchen", "comfyui") for one in ("int8-channel", *ROTATED.values())}
IN_ONE_CALL |= {("comfy-kitchen", one) for one in ROTATIONS["w4a8"].values()}
IN_ONE_CALL |= {("comfy-kitchen", name) for name, row in FORMATS.items() if row.family == "convrot-w4a4"}


def width(format_name):
    """K, or what the group that the format rotates divides."""
    group = FORMATS[format_name].settings.get("convrot_groupsize", 1)
    return K if K % group == 0 else max(group, 512)


def layer(format_name, device=DEVICE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    columns = width(format_name)
    weight = torch.randn((N, columns), generator=generator) / columns**0.5
    more = {"input_scale": torch.tensor([0.03])} if format_name == "fp8-tensor" else {}
    if FORMATS[format_name].smooth:
        more = {"pre_quant_scale": torch.rand(columns, generator=generator) + 0.2}
    stored = FORMATS[format_name].quantize(weight, torch.bfloat16, **more).to(device)
    return stored._qdata, stored._params, torch.randn(N, generator=generator).to(device)


def activations(rows, dtype=torch.float32, columns=K):
    x = torch.randn((rows, columns), generator=torch.Generator().manual_seed(1))
    x[rows // 2] = 0
    return x.to(dtype).to(DEVICE)


def in_two_steps(kernel, x, codes, params, bias):
    given = kernel.steps.quantize(x, params)
    return kernel.steps.multiply(given, x.shape[0], x.dtype, codes, params, bias)


@pytest.mark.parametrize(
    "kernel,format_name,dtype",
    [
        pytest.param(*case.values, dtype, id=f"{dtype}-{case.id}")
        for case in RUNNABLE
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
        if case.values[0].requires.unmet(describe(DEVICE), (N, K), dtype) is None
    ],
)
def test_two_steps_are_one(kernel, format_name, dtype):
    codes, params, bias = layer(format_name)
    for rows, given in ((1, bias), (33, None), (70, bias)):
        x = activations(rows, dtype, width(format_name))
        expected = kernel.linear(x, codes, params, given)
        assert torch.equal(in_two_steps(kernel, x, codes, params, given), expected)
        strided = x.t().contiguous().t()
        assert torch.equal(in_two_steps(kernel, strided, codes, params, given), expected)


@pytest.mark.parametrize("format_name", ["int8-channel", "int8-channel-smooth"])
def test_torch_int8_in_two_steps(format_name):
    """It multiplies on any CPU; without VNNI it is only not chosen."""
    row = next(k for k in KERNELS if k.name == "torch" and format_name == k.format)
    codes, params, bias = layer(format_name)
    for dtype in (torch.float32, torch.bfloat16):
        x = activations(40, dtype)
        assert torch.equal(in_two_steps(row, x, codes, params, bias), row.linear(x, codes, params, bias))


@pytest.mark.parametrize("kernel,format_name", TWO_STEPS)
def test_steps_name_what_they_read(kernel, format_name):
    """A pre_quant_scale or a static scale that is not named would be taken from another layer."""
    tensors = FORMATS[format_name].tensors
    assert set(kernel.steps.reads) == {"input_scale", "pre_quant_scale"} & set(tensors)


def test_every_kernel_that_quantizes_has_two_steps_or_is_known_to_have_one():
    one = {
        (kernel.name, kernel.format.removesuffix("-smooth"))
        for kernel in KERNELS
        if kernel.steps is None and kernel.activation != "float"
    }
    assert one == IN_ONE_CALL


@pytest.mark.parametrize("kernel,format_name", RUNNABLE)
def test_ops_are_well_behaved(kernel, format_name):
    codes, params, bias = layer(format_name)
    with Recorded() as recorded:
        in_two_steps(kernel, activations(33, columns=width(format_name)), codes, params, bias)
    assert len(recorded.calls) == 2
    for call in recorded.calls:
        opcheck(*call, test_utils=("test_faketensor",))


@pytest.mark.parametrize("kernel,format_name", TWO_STEPS)
def test_both_steps_can_be_traced_anywhere(kernel, format_name):
    codes, params, bias = layer(format_name, "cpu")
    mode = FakeTensorMode()
    names = FORMATS[format_name].tensors
    tensors = dict(zip(names, (codes, *(getattr(params, name) for name in names[1:])), strict=True))
    fakes = {name: mode.from_tensor(tensor) for name, tensor in tensors.items()}
    dtype = (kernel.requires.dtypes or (torch.float32,))[0]
    given = replace(params, **{name: fakes[name] for name in names[1:]}, orig_dtype=dtype)
    x = mode.from_tensor(activations(33, dtype, width(format_name)).cpu())
    with mode:
        y = in_two_steps(kernel, x, fakes["codes"], given, mode.from_tensor(bias))
    assert (y.shape, y.dtype) == ((33, N), dtype)


# (kernel, format) -> library, what its `load` gives of it
LIBRARIES = {
    ("vllm", "fp8-channel"): ("vllm", None),
    ("vllm", "int8-channel"): ("vllm", None),
    ("vllm", "fp8-block128"): ("vllm", None),
    ("sgl", "fp8-channel"): ("sgl-kernel", None),
    ("sgl", "int8-channel"): ("sgl-kernel", None),
    ("sgl", "fp8-block128"): ("sgl-kernel", None),
    ("torchao", "int8-channel"): ("torchao", torchao.MATMULS),
    ("q8f", "fp8-channel"): ("q8-kernels", None),
    ("q8f", "int8-channel"): ("q8-kernels", None),
    ("deepgemm", "fp8-block128"): ("deep-gemm", deepgemm.FUNCTIONS),
}


@pytest.mark.parametrize("name,format_name", LIBRARIES)
def test_libraries_in_two_steps(recorded, monkeypatch, name, format_name):
    """With the signatures and the meaning of a real release behind the ops, three layers quantize once."""
    file, functions = LIBRARIES[name, format_name]
    kernel = next(k for k in KERNELS if k.name == name and format_name == k.format)
    release = json.loads((SIGNATURES / f"{file}.json").read_text(encoding="utf-8"))[0]
    library = recorded(release)
    part = library if functions is None else next(getattr(library, f) for f in functions if hasattr(library, f))
    monkeypatch.setattr(Library, "loaded", lambda self: part)
    codes, params, bias = layer(format_name, "cpu")
    x, bias = activations(33, torch.bfloat16).cpu(), bias.cpu().to(torch.bfloat16)
    expected = [kernel.linear(x, codes, params, each) for each in (bias, None, bias)]
    with Recorded() as recorded_ops:
        given = kernel.steps.quantize(x, params)
        got = [kernel.steps.multiply(given, 33, x.dtype, codes, params, each) for each in (bias, None, bias)]
    assert all(torch.equal(y, wanted) for y, wanted in zip(got, expected, strict=True))
    names = [function._schema.name for function, _ in recorded_ops.calls]
    assert names == ["x2v_quant::quantize", *["x2v_quant::multiply"] * 3]
    for call in recorded_ops.calls:
        opcheck(*call, test_utils=("test_faketensor",))
