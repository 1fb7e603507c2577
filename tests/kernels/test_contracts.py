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
from torch.library import opcheck

from x2v_quant.formats import FORMATS
from x2v_quant.kernels import comfy_kitchen, deepgemm, marlin, q8f, sgl, torchao, vllm
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


# (library, adapter, what the adapter is given of it, format, what the release must have, dtypes)
HALVES, BF16 = (torch.bfloat16, torch.float16), (torch.bfloat16,)
ADAPTERS = [
    ("vllm", vllm.fp8_linear, itself, "fp8-channel", ("cutlass_scaled_mm",), HALVES),
    ("vllm", vllm.int8_linear, itself, "int8-channel", ("cutlass_scaled_mm",), HALVES),
    ("vllm", vllm.block_linear, itself, "fp8-block128", ("cutlass_scaled_mm",), HALVES),
    ("vllm", marlin.operator_linear, itself, "int4-g128-marlin", marlin.OPERATORS, HALVES),
    ("sgl-kernel", sgl.fp8_linear, itself, "fp8-channel", ("fp8_scaled_mm",), HALVES),
    ("sgl-kernel", sgl.int8_linear, itself, "int8-channel", ("int8_scaled_mm",), HALVES),
    ("sgl-kernel", sgl.block_linear, itself, "fp8-block128", ("fp8_blockwise_scaled_mm",), HALVES),
    ("sgl-kernel", marlin.operator_linear, itself, "int4-g128-marlin", ("gptq_marlin_gemm",), HALVES),
    ("torchao", torchao.int8_linear, first(*torchao.MATMULS), "int8-channel", torchao.MATMULS, HALVES),
    ("q8-kernels", q8f.fp8_linear, itself, "fp8-channel", ("fp8_mm", "fp8_mm_bias"), BF16),
    ("q8-kernels", q8f.int8_linear, itself, "int8-channel", ("q8_mm", "q8_mm_bias"), BF16),
    ("deep-gemm", deepgemm.block_linear, first(*deepgemm.FUNCTIONS), "fp8-block128", deepgemm.FUNCTIONS, BF16),
    ("marlin", marlin.original_linear, first("mul"), "int4-g128-marlin", ("mul",), HALVES),
]


def cases(library, compute, part, format_name, wanted, dtypes):
    """Releases that the adapter can use, oldest first."""
    return [
        pytest.param(
            release, compute, part, format_name, dtypes, id=f"{release['release']}-{format_name}".replace(" ", "-")
        )
        for release in releases(library)
        if has(release, *wanted)
    ]


CASES = [case for adapter in ADAPTERS for case in cases(*adapter)]
NEWEST = [cases(*adapter)[-1] for adapter in ADAPTERS]


@functools.cache
def weight(format_name, dtype):
    generator = torch.Generator().manual_seed(0)
    stored = FORMATS[format_name].quantize(torch.randn((N, K), generator=generator) / K**0.5, dtype)
    return stored._qdata, stored._params, torch.randn(N, generator=generator).to(dtype)


def activations(m, dtype):
    x = torch.randn((m, K), generator=torch.Generator().manual_seed(1)).to(dtype)
    x[m // 2] = 0
    return x


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(marlin, "_multiprocessors", lambda device: 4)


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("release,compute,part,format_name,dtypes", CASES)
def test_the_call_matches_and_multiplies(recorded, release, compute, part, format_name, dtypes):
    """Every adapter with every release it can use: 16-bit types, with and without a bias, rows that are no multiple of
    anything."""
    library = recorded(release)
    for dtype in dtypes:
        codes, params, bias = weight(format_name, dtype)
        for rows, given in ((33, bias), (33, None), (1, bias)):
            x = activations(rows, dtype)
            y = compute(part(library), x, codes, params.scale, given)
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
@pytest.mark.parametrize("release,compute,part,format_name,dtypes", [c for c in NEWEST if "schema" in str(c.values[0])])
def test_a_changed_operator_is_noticed(recorded, release, compute, part, format_name, dtypes, kind):
    codes, params, bias = weight(format_name, dtypes[0])
    library = recorded(release)
    compute(part(library), activations(4, dtypes[0]), codes, params.scale, bias)
    for name in set(library.called):
        schema = release["functions"][name]["schema"]
        other = recorded(release, {name: changed(schema)[kind]})
        with pytest.raises(NOTICED):
            compute(part(other), activations(4, dtypes[0]), codes, params.scale, bias)


@pytest.mark.parametrize(
    "release,compute,part,format_name,dtypes", [c for c in NEWEST if "parameters" in str(c.values[0])]
)
def test_a_changed_function_is_noticed(recorded, release, compute, part, format_name, dtypes):
    codes, params, bias = weight(format_name, dtypes[0])
    library = recorded(release)
    compute(part(library), activations(4, dtypes[0]), codes, params.scale, bias)
    for name in set(library.called):
        parameters = release["functions"][name]["parameters"].split(", ")
        for other in (["x2v_extra", *parameters], parameters[1:], [parameters[1], parameters[0], *parameters[2:]]):
            with pytest.raises(NOTICED):
                changes = {name: ", ".join(other)}
                compute(part(recorded(release, changes)), activations(4, dtypes[0]), codes, params.scale, bias)


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
    under_contract = {compute for _, compute, *_ in ADAPTERS}
    assert under_contract >= {
        function
        for adapter in (vllm, sgl, torchao, q8f, deepgemm, marlin)
        for name, function in vars(adapter).items()
        if name.endswith("_linear") and function is not torchao.fp8_linear and name != "library_linear"
    }


OPS = {
    "vllm_fp8_linear": ("vllm", "fp8-channel"),
    "vllm_int8_linear": ("vllm", "int8-channel"),
    "vllm_block_linear": ("vllm", "fp8-block128"),
    "marlin_vllm_linear": ("vllm", "int4-g128-marlin"),
    "sgl_fp8_linear": ("sgl-kernel", "fp8-channel"),
    "sgl_int8_linear": ("sgl-kernel", "int8-channel"),
    "sgl_block_linear": ("sgl-kernel", "fp8-block128"),
    "marlin_sgl_linear": ("sgl-kernel", "int4-g128-marlin"),
    "torchao_int8_linear": ("torchao", "int8-channel"),
    "q8f_fp8_linear": ("q8-kernels", "fp8-channel"),
    "q8f_int8_linear": ("q8-kernels", "int8-channel"),
    "deepgemm_linear": ("deep-gemm", "fp8-block128"),
    "marlin_linear": ("marlin", "int4-g128-marlin"),
}


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("op,library,format_name", [(op, *rest) for op, rest in OPS.items()])
def test_ops_are_well_behaved(recorded, monkeypatch, op, library, format_name):
    """In a graph, with no token at all, and with what is no row-major x: the real library behind a torch op."""
    release = releases(library)[0]
    compute, part = next(
        (compute, part) for name, compute, part, held, _, _ in ADAPTERS if (name, held) == (library, format_name)
    )
    monkeypatch.setattr(Library, "loaded", lambda self: part(recorded(release)))
    codes, params, bias = weight(format_name, torch.bfloat16)
    overload = getattr(torch.ops.x2v_quant, op).default
    x = activations(6, torch.bfloat16)
    opcheck(overload, (x, codes, params.scale, bias), test_utils=("test_faketensor",))
    assert overload(x[:0], codes, params.scale, bias).shape == (0, N)
    strided = x.t().contiguous().t()
    torch._dynamo.reset()
    y = torch.compile(overload, fullgraph=True, backend="eager")(strided, codes, params.scale, bias.float())
    assert torch.equal(y, compute(part(recorded(release)), x, codes, params.scale, bias))


@pytest.mark.parametrize("release", releases("comfy-kitchen"), ids=lambda release: release["release"])
@pytest.mark.parametrize("format_name", ["int8-channel", "mxfp8", "nvfp4"])
def test_comfy_kitchen_is_called_as_each_release_wants(monkeypatch, release, format_name):
    """The installed functions behind each release's parameters; no CPU multiplies its block formats."""
    installed = comfy_kitchen.comfy_kitchen
    called = []

    def bound(name, parameters):
        signature = inspect.signature(eval(f"lambda {parameters}: None"))

        def run(*args, **kwargs):
            signature.bind(*args, **kwargs)
            called.append(name)
            if name.startswith("scaled_mm_"):
                return torch.zeros((args[0].shape[0], args[1].shape[0]), dtype=torch.bfloat16)
            return getattr(installed, name)(*args, **kwargs)

        return run

    if format_name == "int8-channel" and not (has(release, "int8_linear") and hasattr(installed, "int8_linear")):
        pytest.skip("the release, or the one that is installed, has no int8_linear: its kernels are not chosen then")
    functions = {name: bound(name, function["parameters"]) for name, function in release["functions"].items()}
    monkeypatch.setattr(comfy_kitchen, "comfy_kitchen", SimpleNamespace(**functions))
    monkeypatch.setattr(Library, "loaded", lambda self: comfy_kitchen.comfy_kitchen)
    codes, params, bias = weight(format_name, torch.bfloat16)
    for kernel in (row for row in comfy_kitchen.ROWS if format_name in row.formats):
        called.clear()
        assert kernel.linear(activations(33, torch.bfloat16), codes, params, bias).shape == (33, N)
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
