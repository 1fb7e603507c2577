"""Our calls of the kernel libraries against the signatures of real releases: see `Recorded` in conftest.py."""

import functools
import importlib
import importlib.metadata
import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from recorded import Recorded as Calls
from torch.library import opcheck

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import KERNELS, comfy_kitchen, deepgemm, marlin, sgl, torchao
from x2v_quant.kernels.libraries import LIBRARIES, LacksError, Library
from x2v_quant.kernels.reference import reference

SIGNATURES = Path(__file__).parent.parent / "data" / "signatures"
N, K = 256, 384


def releases(library: str) -> list[dict]:
    return json.loads((SIGNATURES / f"{library}.json").read_text(encoding="utf-8"))


def has(release: dict, *names: str) -> bool:
    return any(name in release["functions"] for name in names)


def itself(library):
    return library


def first(*names):
    return lambda library: next(getattr(library, name) for name in names if hasattr(library, name))


def kernel(name, format_name, library=None):
    """The kernel; `library`: the one it requires, where several kernels have the name."""
    return next(
        k for k in KERNELS if (k.name, k.format) == (name, format_name) and library in (None, k.requires.library)
    )


# (library, kernel, what its `load` gives of it, what the release must have, dtypes)
HALVES, BF16, MARLIN = (torch.bfloat16, torch.float16), (torch.bfloat16,), "int4-g128-marlin"
ADAPTERS = [
    ("vllm", kernel("vllm", "fp8-channel"), itself, ("cutlass_scaled_mm",), HALVES),
    ("vllm", kernel("vllm", "int8-channel"), itself, ("cutlass_scaled_mm",), HALVES),
    ("vllm", kernel("vllm", "fp8-block128"), itself, ("cutlass_scaled_mm",), HALVES),
    ("vllm", kernel("marlin", MARLIN, "vllm"), itself, marlin.OPERATORS, HALVES),
    ("sgl-kernel", kernel("sgl", "fp8-channel"), itself, ("fp8_scaled_mm",), HALVES),
    ("sgl-kernel", kernel("sgl", "int8-channel"), itself, ("int8_scaled_mm",), HALVES),
    ("sgl-kernel", kernel("sgl", "fp8-block128"), itself, ("fp8_blockwise_scaled_mm",), HALVES),
    ("sgl-kernel", kernel("marlin", MARLIN, "sgl-kernel up to 0.3.21"), itself, ("gptq_marlin_gemm",), HALVES),
    ("torchao", kernel("torchao", "int8-channel"), first(*torchao.MATMULS), torchao.MATMULS, HALVES),
    ("q8-kernels", kernel("q8f", "fp8-channel"), itself, ("fp8_mm", "fp8_mm_bias"), BF16),
    ("q8-kernels", kernel("q8f", "int8-channel"), itself, ("q8_mm", "q8_mm_bias"), BF16),
    ("deep-gemm", kernel("deepgemm", "fp8-block128"), first(*deepgemm.FUNCTIONS), deepgemm.FUNCTIONS, BF16),
    ("marlin", kernel("marlin", MARLIN, "marlin"), first("mul"), ("mul",), HALVES),
]


def cases(library, kernel, part, wanted, dtypes):
    """Releases that the kernel can use, oldest first."""
    return [
        pytest.param(release, kernel, part, dtypes, id=f"{release['release']}-{kernel.format}".replace(" ", "-"))
        for release in releases(library)
        if has(release, *wanted)
    ]


CASES = [case for adapter in ADAPTERS for case in cases(*adapter)]
NEWEST = [cases(*adapter)[-1] for adapter in ADAPTERS]


@pytest.fixture
def install(monkeypatch):
    """install(what a library's `load` gives): every kernel calls that."""
    return lambda loaded: monkeypatch.setattr(Library, "loaded", lambda self: loaded)


@functools.cache
def weight(format_name, dtype):
    generator = torch.Generator().manual_seed(0)
    columns = K - K % max(FORMATS[format_name].rotation, 1)
    stored = FORMATS[format_name].quantize(torch.randn((N, columns), generator=generator) / K**0.5, dtype)
    return stored._qdata, stored._params, torch.randn(N, generator=generator).to(dtype)


def activations(m, dtype):
    x = torch.randn((m, K), generator=torch.Generator().manual_seed(1)).to(dtype)
    x[m // 2] = 0
    return x


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(marlin, "_multiprocessors", lambda device: 4)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("release,kernel,part,dtypes", CASES)
def test_the_call_matches_and_multiplies(recorded, install, release, kernel, part, dtypes):
    """Every adapter with every release it can use: 16-bit types, with and without a bias, rows that are no multiple of
    anything."""
    library = recorded(release)
    install(part(library))
    format_name = kernel.format
    for dtype in dtypes:
        codes, params, bias = weight(format_name, dtype)
        for rows, given in ((33, bias), (33, None), (1, bias)):
            x = activations(rows, dtype)
            y = kernel.linear(x, codes, params, given)
            assert (y.shape, y.dtype) == ((rows, N), dtype)
            expected = reference(x.float(), format_name, codes, params, given, FORMATS[format_name].activation)
            assert (y.float() - expected).norm() <= 0.01 * expected.norm()
    assert library.called


# torch's and Python's refusals, and the documented function's, whose arguments have other names
NOTICED = (RuntimeError, TypeError, AssertionError, AttributeError)


def changed(signature: str) -> dict[str, str]:
    """What a later release might make of a signature."""
    opening, parameters, closing = re.fullmatch(r"(\w+\()(.*)(\) -> .*)", signature).groups()
    first, *others = parameters.split(",")
    return {
        "one more argument": f"{opening}Tensor x2v_extra, {parameters}{closing}",
        "one argument less": f"{opening}{','.join(others)}{closing}",
        "another type": f"{opening}str {first.split()[-1]},{','.join(others)}{closing}",
    }


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("kind", ["one more argument", "one argument less", "another type"])
@pytest.mark.parametrize("release,kernel,part,dtypes", [c for c in NEWEST if "schema" in str(c.values[0])])
def test_a_changed_operator_is_noticed(recorded, install, release, kernel, part, dtypes, kind):
    codes, params, bias = weight(kernel.format, dtypes[0])
    library = recorded(release)
    install(part(library))
    kernel.linear(activations(4, dtypes[0]), codes, params, bias)
    for name in set(library.called):
        schema = release["functions"][name]["schema"]
        install(part(recorded(release, {name: changed(schema)[kind]})))
        with pytest.raises(NOTICED):
            kernel.linear(activations(4, dtypes[0]), codes, params, bias)


@pytest.mark.parametrize("release,kernel,part,dtypes", [c for c in NEWEST if "parameters" in str(c.values[0])])
def test_a_changed_function_is_noticed(recorded, install, release, kernel, part, dtypes):
    codes, params, bias = weight(kernel.format, dtypes[0])
    library = recorded(release)
    install(part(library))
    kernel.linear(activations(4, dtypes[0]), codes, params, bias)
    for name in set(library.called):
        parameters = release["functions"][name]["parameters"].split(", ")
        for other in (["x2v_extra", *parameters], parameters[1:], [parameters[1], parameters[0], *parameters[2:]]):
            install(part(recorded(release, {name: ", ".join(other)})))
            with pytest.raises(NOTICED):
                kernel.linear(activations(4, dtypes[0]), codes, params, bias)


@pytest.mark.parametrize("release", releases("sgl-kernel"), ids=lambda release: release["release"])
@pytest.mark.parametrize(
    "library,operator",
    [("sgl-kernel up to 0.4.4", "fp8_blockwise_scaled_mm"), ("sgl-kernel up to 0.3.21", "gptq_marlin_gemm")],
)
def test_an_operator_that_left_is_missed(recorded, monkeypatch, release, library, operator):
    monkeypatch.setattr(sgl, "load_ops", lambda: recorded(release))
    if has(release, operator):
        assert getattr(LIBRARIES[library].load(), operator)
    else:
        with pytest.raises(LacksError, match=f"has no {operator}: 0.* was the last release"):
            LIBRARIES[library].load()


def test_every_library_is_under_contract():
    kitchens = {"comfy-kitchen", "comfy-kitchen int8", "comfy-kitchen int8_linear", "comfy-kitchen w4a8"}
    kitchens.add("comfy-kitchen convrot_w4a4_linear")
    ours = {"triton", "triton 3.5 or newer", "triton 3.6 or newer", None}
    adapted = {k for k in KERNELS if k.requires.library not in ours | kitchens and not FORMATS[k.format].smooth}
    assert adapted == {kernel for _, kernel, *_ in ADAPTERS}


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("release,kernel,part,dtypes", [cases(*adapter)[0] for adapter in ADAPTERS])
def test_ops_are_well_behaved(recorded, install, release, kernel, part, dtypes):
    """In a graph, with no token at all, and with what is no row-major x: the real library behind a torch op."""
    install(part(recorded(release)))
    codes, params, bias = weight(kernel.format, torch.bfloat16)
    x = activations(6, torch.bfloat16)
    with Calls() as calls:
        expected = kernel.linear(x, codes, params, bias)
    for call in calls.calls:
        opcheck(*call, test_utils=("test_faketensor",))
    assert kernel.linear(x[:0], codes, params, bias).shape == (0, N)
    strided = x.t().contiguous().t()
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: kernel.linear(x, codes, params, bias.float()), fullgraph=True, backend="eager")
    assert torch.equal(compiled(strided), expected)


@pytest.mark.parametrize("release", releases("comfy-kitchen"), ids=lambda release: release["release"])
@pytest.mark.parametrize("format_name", ["int8-channel", "mxfp8", "nvfp4", "w4a8"])
def test_comfy_kitchen_is_called_as_each_release_wants(monkeypatch, release, format_name):
    """The installed functions behind each release's parameters; no CPU multiplies its block formats."""
    installed = comfy_kitchen.comfy_kitchen
    called = []

    def bound(name, parameters):
        signature = inspect.signature(eval(f"lambda {parameters}: None"))

        def run(*args, **kwargs):
            signature.bind(*args, **kwargs)
            called.append(name)
            if name == "w4a8_int8_linear":
                return torch.zeros((args[0].shape[0], args[1].shape[0]), dtype=kwargs["out_dtype"])
            if name.startswith("scaled_mm_"):
                return torch.zeros((args[0].shape[0], args[1].shape[0]), dtype=torch.bfloat16)
            return getattr(installed, name)(*args, **kwargs)

        return run

    if format_name == "int8-channel" and not (has(release, "int8_linear") and hasattr(installed, "int8_linear")):
        pytest.skip("the release, or the one that is installed, has no int8_linear: its kernels are not chosen then")
    if format_name == "w4a8" and not has(release, "w4a8_int8_linear"):
        pytest.skip("the release has no w4a8_int8_linear: its kernels are not chosen then")
    functions = {name: bound(name, function["parameters"]) for name, function in release["functions"].items()}
    monkeypatch.setattr(comfy_kitchen, "comfy_kitchen", SimpleNamespace(**functions))
    codes, params, bias = weight(format_name, torch.bfloat16)
    for kernel in (row for row in comfy_kitchen.ROWS if format_name == row.format):
        called.clear()
        assert kernel.linear(activations(33, torch.bfloat16)[:, : params.orig_shape[1]], codes, params, bias).shape == (
            33,
            N,
        )
        assert called


@pytest.mark.parametrize(
    "library,module", [("torchao", "torchao.quantization.utils"), ("comfy-kitchen", "comfy_kitchen")]
)
def test_a_record_is_what_is_installed(library, module):
    """The recorder itself: where a recorded release is installed here, Python says the same of it."""
    installed = f"{library} {importlib.metadata.version(library)}"
    for release in releases(library):
        for name, function in release["functions"].items() if release["release"] == installed else ():
            found = inspect.signature(getattr(importlib.import_module(module), name)).parameters
            recorded = inspect.signature(eval(f"lambda {function['parameters']}: None")).parameters
            assert list(found) == list(recorded)
            assert [p.default is p.empty for p in found.values()] == [p.default is p.empty for p in recorded.values()]
    assert installed in {release["release"] for release in releases(library)}
