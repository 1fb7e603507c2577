"""Where the Triton kernels are offered and why not elsewhere; on a GPU, that they compute the reference's numbers."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, LIBRARIES, why_not
from x2v_quant.kernels import triton as rows
from x2v_quant.kernels.activation import quantize_fp8, quantize_fp8_group128, quantize_fp8_reduced, quantize_int8
from x2v_quant.kernels.machine import Machine, default_device, describe
from x2v_quant.kernels.reference import reference
from x2v_quant.kernels.triton_tiles import architecture_of, tile_for

HERE = frozenset({rows.TRITON.name, rows.TRITON_F16.name})


def gpu(name, capability, system="Linux", libraries=HERE):
    return Machine("cuda", name, capability, system=system, libraries=libraries)


RTX_2080 = gpu("RTX 2080", (7, 5))
A100 = gpu("A100", (8, 0))
RTX_3060 = gpu("RTX 3060", (8, 6))
RTX_4090 = gpu("RTX 4090", (8, 9), "Windows")
H200 = gpu("H200", (9, 0))
RTX_5090 = gpu("RTX 5090", (12, 0), "Windows")
RADEON = gpu("Radeon RX 7900", None)


def offered(format_name, machine):
    """Activation of the row that runs -> or the reason in words."""
    reasons = []
    for row in rows.ROWS:
        if format_name == row.format:
            reasons.append(row.requires.unmet(machine, (320, 256), torch.bfloat16))
            if reasons[-1] is None:
                return row.activation
    return reasons[-1]


@pytest.mark.parametrize(
    "format_name,machine,expected",
    [
        ("int8-channel", A100, "int8"),
        ("int8-channel", RTX_5090, "int8"),
        ("int8-channel", RADEON, "int8"),
        ("int8-channel", RTX_2080, "needs compute capability 8.0 or newer"),
        ("fp8-channel", A100, "float"),
        ("fp8-channel", RTX_3060, "float"),
        ("fp8-channel", RADEON, "float"),
        ("fp8-channel", RTX_4090, "fp8"),
        ("fp8-channel", H200, "fp8"),
        ("fp8-channel", RTX_2080, "needs compute capability 8.0 or newer"),
        ("fp8-block128", RTX_4090, "fp8-group128"),
        ("fp8-block128", RTX_3060, "needs compute capability 8.9 or newer"),
        ("fp8-block128", RADEON, "needs an NVIDIA GPU"),
        ("int4-g128", RTX_3060, "float"),
        ("int4-g128", RADEON, "float"),
        ("fp8-reduced", RTX_4090, "fp8-reduced"),
        ("fp8-reduced", RTX_5090, "fp8-reduced"),
        ("fp8-reduced", H200, "has no code for compute capabilities above 8.9"),
        ("fp8-reduced", RTX_3060, "needs compute capability 8.9 or newer"),
        ("fp8-reduced", RADEON, "needs an NVIDIA GPU"),
    ],
)
def test_where_it_runs_and_why_not(format_name, machine, expected):
    assert offered(format_name, machine).startswith(expected)


@pytest.mark.parametrize(
    "system,package", [("Linux", "pip install triton"), ("Windows", "else pip install triton-windows")]
)
def test_what_to_install(system, package):
    machine = gpu("RTX 4090", (8, 9), system, frozenset())
    for row in rows.ROWS:
        if row.requires.unmet(gpu("RTX 4090", (8, 9), system)) is None:
            assert f"{package})" in row.requires.unmet(machine)


@pytest.mark.parametrize(
    "version,words",
    [
        ("3.4.0", "needs triton 3.5 or newer, 3.4.0 is installed"),
        ("3.5.1.post21", None),
        ("3.6.0", None),
        ("4.0", None),
    ],
)
def test_float16_sums_need_a_release_that_has_them(monkeypatch, version, words):
    monkeypatch.setattr(type(rows.TRITON_F16), "version", lambda self: version)
    monkeypatch.setattr(type(rows.TRITON_F16), "found", lambda self: True)
    monkeypatch.setattr("x2v_quant.kernels.libraries._loaded", lambda library: (None, None))
    assert rows.TRITON_F16.broken() == words
    assert rows.TRITON_F16.expected(Machine("cuda", "RTX 4090", (8, 9))) is (words is None)


def test_every_row_is_registered_and_a_cpu_is_told():
    assert set(rows.ROWS) <= set(KERNELS)
    assert {rows.TRITON.name, rows.TRITON_F16.name} <= set(LIBRARIES)
    cpu = describe(torch.device("cpu"))
    for row in rows.ROWS:
        assert why_not(row.name, row.format, cpu).startswith("needs a CUDA GPU")


@pytest.mark.slow
def test_importing_the_rows_imports_no_triton(comfyui):
    """A machine without triton has the rows and the reason; a machine with it pays for the import at first use."""
    code = f"""
import sys
sys.path.insert(0, {str(comfyui)!r})
sys.modules["triton"] = None  # any import of it raises
from x2v_quant.kernels import KERNELS
assert any(row.name == "triton" for row in KERNELS)
from x2v_quant.kernels.triton import TRITON
assert "triton" in TRITON.broken() and "does not load" in TRITON.broken(), TRITON.broken()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "capability,name",
    [
        ((8, 0), "sm80"),
        ((8, 6), "sm86"),
        ((8, 7), "sm80"),
        ((8, 9), "sm86"),
        ((9, 0), "sm90"),
        ((10, 3), "sm100"),
        ((11, 0), "sm100"),
        ((12, 0), "sm86"),
        ((12, 1), "sm86"),
        ((13, 0), "sm86"),
    ],
)
def test_architectures(capability, name):
    assert architecture_of(capability) == name


def test_tiles_grow_with_the_tokens():
    tiles = [tile_for("int8", m, torch.device("cpu")) for m in (1, 16, 17, 64, 65, 512, 513, 75600)]
    areas = [tile.m * tile.n for tile in tiles]
    assert areas == sorted(areas)
    assert areas[0] < areas[-1]


@pytest.mark.parametrize("nibble", range(16))
@pytest.mark.parametrize("dtype,one", [(torch.float16, 0x6400), (torch.bfloat16, 0x4300)], ids=["float16", "bfloat16"])
def test_nibbles_are_expanded_exactly(nibble, dtype, one):
    """The identity that the int4 kernel rests on, for the dtype that the interpreter cannot compute as well."""
    value, eight = (torch.tensor([one | bits], dtype=torch.int16).view(dtype) for bits in (nibble, 8))
    assert (value - eight).item() == nibble - 8


@given(st.integers(0, 2**32 - 1), st.sampled_from([127.0, 448.0, 32.0]))
@settings(max_examples=30, deadline=None)
def test_the_quantizers_quotient_is_correctly_rounded(seed, largest):
    """The kernel's two fused multiply-adds, which float64 does exactly, against torch's division."""
    x = torch.randn(4096, generator=torch.Generator().manual_seed(seed))
    scale = x.abs().max() / largest
    inverse = 1 / scale
    guess = x * inverse
    remainder = (x.double() - guess.double() * scale.double()).float()
    quotient = (guess.double() + remainder.double() * inverse.double()).float()
    assert torch.equal(quotient, x / scale)


def test_a_product_with_the_inverse_would_not_be():
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0))
    scale = x.abs().max() / 127.0
    assert not torch.equal(x * (1 / scale), x / scale)


GPU = default_device()
QUANTIZERS = {"int8": quantize_int8, "fp8": quantize_fp8, "fp8-reduced": quantize_fp8_reduced}
RUNNABLE = [
    pytest.param(row, id=f"{row.name}-{row.format}-{row.activation}")
    for row in rows.ROWS
    if GPU.type == "cuda" and row.requires.unmet(describe(GPU)) is None
] or [pytest.param(None, id="none")]


@pytest.mark.gpu
@pytest.mark.parametrize("activation", QUANTIZERS)
@pytest.mark.parametrize("width", [20, 257, 1536, 5120, 13824, 20000])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
def test_quantizer_equals_torch_bit_for_bit(activation, width, dtype):
    x = torch.randn(300, width, device=GPU).mul(torch.logspace(-3, 3, 300, device=GPU).view(-1, 1)).to(dtype)
    x[7] = 0
    codes, scale = rows.TRITON.loaded().quantize_tokens(x, activation)
    expected_codes, expected_scale = QUANTIZERS[activation](x)
    assert torch.equal(scale, expected_scale)
    assert torch.equal(codes.view(torch.uint8), expected_codes.view(torch.uint8))


@pytest.mark.gpu
@pytest.mark.parametrize("width", [20, 300, 5120])
def test_group_quantizer_equals_torch_bit_for_bit(width):
    x = torch.randn(301, width, device=GPU).to(torch.bfloat16)
    codes, scale = rows.TRITON.loaded().quantize_token_groups(x)
    expected_codes, expected_scale = quantize_fp8_group128(x)
    assert torch.equal(scale.t(), expected_scale)
    assert torch.equal(codes.view(torch.uint8), expected_codes.view(torch.uint8))


@pytest.mark.gpu
@pytest.mark.parametrize("row", RUNNABLE)
@pytest.mark.parametrize("m", [1, 16, 33, 64, 200, 1025, 4099])
@pytest.mark.parametrize("n,k", [(512, 1024), (257, 130), (20, 5122)])
def test_linear_equals_reference_on_a_gpu(row, m, n, k):
    generator = torch.Generator().manual_seed(m)
    weight = FORMATS[row.format].quantize(torch.randn((n, k), generator=generator), torch.bfloat16).to(GPU)
    x = torch.randn((m, k), generator=generator).to(torch.bfloat16).to(GPU)
    bias = torch.randn(n, generator=generator).to(GPU)
    y = row.linear(x, weight._qdata, weight._params, bias)
    expected = reference(x.float(), row.format, weight._qdata, weight._params, bias, row.activation)
    assert (y.float() - expected).norm() <= 4e-3 * expected.norm()


@pytest.mark.gpu
def test_offsets_beyond_31_bits():
    """M * N and M * K beyond 2**31 elements: the last rows are right."""
    m, n, k = 140_000, 16_384, 64
    if torch.cuda.mem_get_info(GPU)[0] < 3 * m * n:
        pytest.skip("not enough memory on this GPU")
    weight = FORMATS["int8-channel"].quantize(torch.randn(n, k), torch.bfloat16).to(GPU)
    x = torch.randn(m, k, device=GPU, dtype=torch.bfloat16)
    y = rows.ROWS[0].linear(x, weight._qdata, weight._params, None)
    expected = reference(x[-99:].float(), "int8-channel", weight._qdata, weight._params, None, "int8")
    assert (y[-99:].float() - expected).norm() <= 4e-3 * expected.norm()
