"""ComfyUI's own kernels: the numbers where a CPU has them, the rules of a GPU where not, and the words for why not."""

import pytest
import torch
from comfy_kitchen.backends.eager import quantization as eager
from older_comfyui import core_has_w4a8, core_multiplies_int8
from torch._subclasses.fake_tensor import FakeTensorMode

from x2v_quant.checkpoints.checkpoint import StoredWeight
from x2v_quant.checkpoints.encodings import COMFYUI
from x2v_quant.converting.dialects import layer_tensors
from x2v_quant.formats import FORMATS, ROTATIONS
from x2v_quant.kernels import comfy_kitchen as adapter
from x2v_quant.kernels import why_not
from x2v_quant.kernels.libraries import LacksError
from x2v_quant.kernels.machine import Machine
from x2v_quant.kernels.ops import COMPUTATIONS
from x2v_quant.kernels.reference import reference

DTYPES = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
BIAS = pytest.mark.parametrize("with_bias", [True, False], ids=["bias", "no-bias"])
# what the ops run: no GPU is there that would choose the kernels
MXFP8, NVFP4 = COMPUTATIONS["comfy-kitchen mxfp8"], COMPUTATIONS["comfy-kitchen nvfp4"]
H200, RTX5090 = Machine("cuda", "H200", (9, 0)), Machine("cuda", "RTX 5090", (12, 0))


def on(machine):
    """The machine with every library."""
    return Machine(machine.kind, machine.name, machine.capability, libraries=frozenset({"comfy-kitchen"}))


def values(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@core_multiplies_int8
@DTYPES
@BIAS
@pytest.mark.parametrize("m", [1, 37])
def test_int8_is_the_reference(dtype, with_bias, m):
    """Through comfy-kitchen's eager backend, which takes the same arguments as its others."""
    weight = FORMATS["int8-channel"].quantize(values(48, 64), dtype)
    x, bias = values(m, 64, seed=1).to(dtype), values(48, seed=2).to(dtype) if with_bias else None
    row = next(row for row in adapter.ROWS if (row.name, row.format) == ("comfy-kitchen", "int8-channel"))
    y = row.linear(x, weight._qdata, weight._params, bias)
    expected = reference(x.float(), "int8-channel", weight._qdata, weight._params, bias, "int8")
    assert (y.shape, y.dtype) == ((m, 48), dtype)
    # it rounds x / scale in x's dtype before it rounds to int8
    assert (y.float() - expected).norm() < 0.01 * expected.norm()


@core_has_w4a8
@DTYPES
@BIAS
@pytest.mark.parametrize("name", ROTATIONS["w4a8"].values())
def test_w4a8_is_the_reference(name, dtype, with_bias):
    """Through comfy-kitchen's eager backend, as int8 above."""
    weight = FORMATS[name].quantize(values(48, 512), dtype)
    x, bias = values(37, 512, seed=1).to(dtype), values(48, seed=2).to(dtype) if with_bias else None
    row = next(row for row in adapter.ROWS if row.format == name)
    y = row.linear(x, weight._qdata, weight._params, bias)
    expected = reference(x.float(), name, weight._qdata, weight._params, bias, row.activation)
    assert (y.shape, y.dtype) == ((37, 48), dtype)
    assert (y.float() - expected).norm() < 0.01 * expected.norm()


@pytest.fixture
def product(monkeypatch):
    """comfy_kitchen's scaled_mm_* as torch would check it for a GPU, which its own fake implementations do not do."""
    calls = []

    def through(function):
        def call(*args):
            calls.append(args)
            return function(*args)

        return call

    for name in ("scaled_mm_mxfp8", "scaled_mm_nvfp4"):
        monkeypatch.setattr(adapter.comfy_kitchen, name, through(getattr(eager, name)))
    with FakeTensorMode():
        yield calls


def empty(*shape, dtype=torch.float32):
    return torch.empty(shape, dtype=dtype, device="cuda")


@DTYPES
@BIAS
@pytest.mark.parametrize("m", [1, 17, 300])
class TestOnABlackwellGpu:
    def test_mxfp8(self, product, dtype, m, with_bias):
        codes, scale = empty(96, 160, dtype=torch.float8_e4m3fn), empty(128, 8, dtype=torch.float8_e8m0fnu)
        bias = empty(96, dtype=dtype) if with_bias else None
        y = MXFP8.linear(empty(m, 160, dtype=dtype), [codes, scale], (96, 160), bias)
        assert (y.shape, y.dtype, y.device.type) == ((m, 96), dtype, "cuda")
        assert product[0][0].shape == (-(-m // 32) * 32, 160)

    def test_nvfp4(self, product, dtype, m, with_bias):
        codes, blocks = empty(96, 80, dtype=torch.uint8), empty(128, 12, dtype=torch.float8_e4m3fn)
        bias = empty(96, dtype=dtype) if with_bias else None
        y = NVFP4.linear(empty(m, 160, dtype=dtype), [codes, empty(), blocks], (96, 160), bias)
        assert (y.shape, y.dtype, y.device.type) == ((m, 96), dtype, "cuda")
        assert product[0][0].shape == (-(-m // 16) * 16, 80)


def test_the_rules_are_really_checked(product):
    codes, scale = empty(96, 160, dtype=torch.float8_e4m3fn), empty(96, 5, dtype=torch.float8_e8m0fnu)
    with pytest.raises((RuntimeError, ValueError)):
        MXFP8.linear(empty(32, 160, dtype=torch.bfloat16), [codes, scale], (96, 160), None)


@pytest.mark.parametrize(
    "name,machine,shape,words",
    [
        ("mxfp8", H200, None, "needs compute capability 10.0 or newer"),
        ("nvfp4", H200, None, "needs compute capability 10.0 or newer"),
        ("nvfp4", RTX5090, (1536, 48), "in_features to be a multiple of 32"),
        ("mxfp8", RTX5090, (48, 1536), "out_features to be a multiple of 32"),
        ("int8-channel", H200, (24, 64), "out_features to be a multiple of 16"),
        ("int8-channel", Machine("cuda", "AMD"), None, "needs an NVIDIA GPU"),
        ("mxfp8", RTX5090, (1536, 1536), None),
        ("nvfp4", RTX5090, (1536, 1536), None),
        ("int8-channel", H200, (1536, 1536), None),
    ],
)
def test_requirements(name, machine, shape, words):
    reason = why_not("comfy-kitchen", name, on(machine), shape)
    assert (words in reason) if words else reason is None


READY = {"available": True, "disabled": False, "unavailable_reason": None, "capabilities": ["int8_linear"]}
ABSENT = {"available": False, "disabled": False, "unavailable_reason": "ImportError: libcuda", "capabilities": []}


@pytest.mark.parametrize(
    "states,words",
    [
        ({"cuda": READY}, None),
        ({"cuda": READY | {"disabled": True}, "triton": READY}, None),
        (
            {"cuda": READY | {"disabled": True}, "triton": ABSENT},
            ["cuda backend switched off by ComfyUI", "triton backend unavailable (ImportError: libcuda)"],
        ),
        ({"cuda": READY | {"capabilities": []}}, ["cuda backend has no int8_linear", "triton backend is not part of"]),
    ],
)
def test_int8_needs_a_backend_of_its_own(states, words, monkeypatch):
    monkeypatch.setattr(adapter.comfy_kitchen, "list_backends", lambda: states)
    if words is None:
        assert adapter._with_int8_backend() is adapter.comfy_kitchen
        return
    with pytest.raises(LacksError) as refusal:
        adapter._with_int8_backend()
    assert all(word in str(refusal.value) for word in words)


def test_w4a8_needs_a_backend_of_its_own_too(monkeypatch):
    monkeypatch.setattr(adapter, "has_w4a8", lambda: True)
    monkeypatch.setattr(adapter.comfy_kitchen, "list_backends", lambda: {"cuda": READY, "triton": ABSENT})
    with pytest.raises(LacksError, match="brings no w4a8 kernel here: cuda backend has no w4a8_int8_linear, triton"):
        adapter.WITH_W4A8.load()
    able = READY | {"capabilities": ["w4a8_int8_linear"]}
    monkeypatch.setattr(adapter.comfy_kitchen, "list_backends", lambda: {"cuda": able})
    assert adapter.WITH_W4A8.load() is adapter.comfy_kitchen


def test_an_older_one_says_which_comfyui_brings_w4a8(monkeypatch):
    monkeypatch.setattr(adapter, "has_w4a8", lambda: False)
    with pytest.raises(LacksError, match=r"has no w4a8_int8_linear: ComfyUI 0\.31 and newer"):
        adapter.WITH_W4A8.load()


def test_without_int8_linear_the_scheme_int8_comfyui_says_what_to_do(monkeypatch):
    monkeypatch.setattr(adapter, "multiplies_int8", lambda: False)
    with pytest.raises(LacksError, match=r"no int8_linear: ComfyUI 0\.27 and newer"):
        adapter.WITH_INT8_LINEAR.load()


def test_this_installs_backends_are_understood():
    """list_backends of the installed release has the entries that are read."""
    states = adapter.comfy_kitchen.list_backends()
    assert set(adapter.BACKENDS) <= set(states)
    assert all(set(READY) <= set(state) for state in states.values())


@core_multiplies_int8
@BIAS
def test_the_scheme_int8_comfyui_is_cores_own_layer_bit_for_bit(with_bias):
    import comfy.ops

    row = next(row for row in adapter.ROWS if row.name == "comfyui")
    dtype = torch.float32
    assert why_not("comfyui", "int8-channel", Machine("cpu", "CPU", None)) is None
    assert "computes float32" in why_not("comfyui", "int8-channel", Machine("cpu", "CPU", None), dtype=torch.bfloat16)
    weight = FORMATS["int8-channel"].quantize(values(48, 64), dtype)
    stored = StoredWeight("int8-channel", (48, 64), {"codes": weight._qdata, "scale": weight._params.scale})
    x, bias = values(37, 64, seed=1).to(dtype), values(48, seed=2).to(dtype) if with_bias else None
    with torch.inference_mode():
        layer = comfy.ops.mixed_precision_ops({}, dtype).Linear(64, 48, bias=with_bias, dtype=dtype)
        layer.load_state_dict({**layer_tensors(stored, COMFYUI), **({"bias": bias} if with_bias else {})})
        assert torch.equal(row.linear(x, weight._qdata, weight._params, bias), layer(x))
