"""Whether a library is here, what is said where it is not or is broken, and what is chosen on which machine."""

import dataclasses
import sys
import types

import pytest
import torch

from x2v_quant.kernels import KERNELS, LIBRARIES, choose, deepgemm, why_not
from x2v_quant.kernels.libraries import LacksError, Library
from x2v_quant.kernels.machine import Machine, describe

ALL = frozenset(LIBRARIES)
ADAPTED = ("vllm", "sgl-kernel", "sgl-kernel up to 0.4.4", "sgl-kernel up to 0.3.21", "torchao", "q8-kernels")
ADAPTED += ("deep-gemm", "marlin")
SHAPE = (1536, 1536)


def machine(name, capability, libraries=ALL, system="Linux"):
    return Machine("cuda", name, capability, system=system, libraries=frozenset(libraries))


def fresh(name, **changes):
    """The row, with nothing remembered of an earlier load."""
    return dataclasses.replace(LIBRARIES[name], **changes)


@pytest.mark.parametrize(
    "kernel,format_name,capability,words",
    [
        # H100: everything but Ada's own
        ("vllm", "fp8-channel", (9, 0), None),
        ("vllm", "int8-channel", (9, 0), None),
        ("vllm", "fp8-block128", (9, 0), None),
        ("sgl", "fp8-channel", (9, 0), None),
        ("sgl", "int8-channel", (9, 0), None),
        ("sgl", "fp8-block128", (9, 0), None),
        ("torchao", "fp8-channel", (9, 0), None),
        ("torchao", "int8-channel", (9, 0), None),
        ("deepgemm", "fp8-block128", (9, 0), None),
        ("marlin", "int4-g128", (9, 0), None),
        ("q8f", "fp8-channel", (9, 0), "above 8.9"),
        # RTX 4090
        ("vllm", "fp8-channel", (8, 9), None),
        ("sgl", "int8-channel", (8, 9), None),
        ("q8f", "fp8-channel", (8, 9), None),
        ("q8f", "int8-channel", (8, 9), None),
        ("marlin", "int4-g128", (8, 9), None),
        ("vllm", "fp8-block128", (8, 9), "9.0 or newer"),
        ("sgl", "fp8-block128", (8, 9), "9.0 or newer"),
        ("deepgemm", "fp8-block128", (8, 9), "9.0 or newer"),
        # RTX 3060 and 2080
        ("vllm", "fp8-channel", (8, 6), "8.9 or newer"),
        ("sgl", "fp8-channel", (8, 6), "8.9 or newer"),
        ("torchao", "fp8-channel", (8, 6), "8.9 or newer"),
        ("q8f", "int8-channel", (8, 6), "8.9 or newer"),
        ("vllm", "int8-channel", (8, 6), None),
        ("sgl", "int8-channel", (8, 6), None),
        ("torchao", "int8-channel", (8, 6), None),
        ("marlin", "int4-g128", (8, 6), None),
        ("vllm", "int8-channel", (7, 5), None),
        # RTX 5090 and B200: no int8 in either library
        ("vllm", "fp8-channel", (12, 0), None),
        ("sgl", "fp8-channel", (12, 0), None),
        ("vllm", "int8-channel", (12, 0), "above 9.0"),
        ("sgl", "int8-channel", (12, 0), "above 9.0"),
        ("vllm", "int8-channel", (10, 0), "above 9.0"),
        ("torchao", "int8-channel", (12, 0), None),
        ("deepgemm", "fp8-block128", (10, 0), "above 9.0"),
        ("sgl", "fp8-block128", (10, 0), None),
        ("sgl", "fp8-block128", (12, 0), "above 10.0"),
    ],
)
def test_which_kernel_runs_on_which_gpu(kernel, format_name, capability, words):
    reason = why_not(kernel, format_name, machine("a GPU", capability), SHAPE, torch.bfloat16)
    if words is None:
        assert reason is None
        assert choose(format_name, machine("a GPU", capability), SHAPE, prefer=kernel).kernel.name == kernel
    else:
        assert words in reason


@pytest.mark.parametrize(
    "kernel,format_name,shape,dtype,words",
    [
        ("vllm", "fp8-channel", (1528, 1536), torch.bfloat16, "out_features to be a multiple of 16"),
        ("sgl", "fp8-channel", (1528, 1536), torch.bfloat16, None),
        ("sgl", "int8-channel", (1536, 1544), torch.bfloat16, "in_features to be a multiple of 16"),
        ("vllm", "fp8-block128", (1600, 1536), torch.bfloat16, "out_features to be a multiple of 128"),
        ("deepgemm", "fp8-block128", (1600, 1536), torch.bfloat16, None),
        (
            "deepgemm",
            "fp8-block128",
            (1536, 1536),
            torch.float16,
            "computes bfloat16, precision while computing is float16",
        ),
        ("torchao", "fp8-channel", (1536, 1536), torch.float16, "computes bfloat16"),
        ("vllm", "fp8-channel", (1536, 1536), torch.float32, "precision while computing is float32"),
        ("torchao", "int8-channel", (1536, 1536), torch.float32, None),
        ("marlin", "int4-g128", (1600, 1536), torch.bfloat16, None),
        ("marlin", "int4-g128", (1536, 192), torch.bfloat16, "in_features to be a multiple of 128"),
    ],
)
def test_shapes_and_dtypes(kernel, format_name, shape, dtype, words):
    reason = why_not(kernel, format_name, machine("H100", (9, 0)), shape, dtype)
    assert reason is None if words is None else words in reason


def test_the_original_marlin_wants_wider_layers():
    alone = machine("RTX 3060", (8, 6), {"marlin"})
    assert why_not("marlin", "int4-g128", alone, (1536, 1536)) is None
    assert "out_features to be a multiple of 256" in why_not("marlin", "int4-g128", alone, (1600, 1536))


@pytest.mark.parametrize("kernel,format_name", [("vllm", "fp8-channel"), ("sgl", "int8-channel")])
def test_windows_is_told_that_there_is_nothing_for_it(kernel, format_name):
    reason = why_not(kernel, format_name, machine("RTX 4090", (8, 9), system="Windows"))
    assert "exists for Linux only, this is Windows" in reason


@pytest.mark.parametrize("name", ADAPTED)
def test_an_install_line_for_linux_and_none_that_does_not_work(name):
    line = LIBRARIES[name].advice(machine("a GPU", (8, 9), ()))
    assert line.startswith("pip install ")
    # the index's packages of these names are other things, or do not build
    assert not line.startswith(("pip install marlin", "pip install deep-gemm", "pip install q8"))
    on_windows = "in the portable build python_embeded\\python.exe -m pip install torchao, else pip install torchao"
    assert LIBRARIES[name].advice(machine("a GPU", (8, 9), (), "Windows")) in ("", on_windows)


@pytest.mark.parametrize("kernel", {k.name: k for k in KERNELS if k.requires.library in ADAPTED}.values())
def test_without_the_libraries_each_kernel_says_what_to_install(kernel):
    bare = machine("a GPU", kernel.requires.min_capability or (9, 0), ())
    reason = why_not(kernel.name, kernel.format, bare)
    assert "which is not installed (pip install" in reason


@pytest.mark.parametrize(
    "error,words",
    [
        (AssertionError(), "is installed but does not load: AssertionError (hint)"),
        (
            OSError("libcuda.so.1: cannot open shared object file\nmore"),
            "does not load: libcuda.so.1: cannot open shared",
        ),
        (ImportError("undefined symbol: _ZN3c10"), "does not load: undefined symbol"),
        (LacksError("has no such operator"), "torchao 0"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_install_is_a_reason(error, words):
    def load():
        raise error

    library = fresh("torchao", load=load, hint="hint")
    problem = library.problem(describe(torch.device("cpu")))
    assert words in problem
    assert "\n" not in problem
    assert library.broken() is library.broken()


def test_a_library_that_is_only_a_shared_object_is_found_by_path(tmp_path, monkeypatch):
    """As a machine without network gets it: a folder that is no installed package."""
    for file in ("vllm/_C_stable_libtorch.abi3.so", "sgl_kernel/sm100/common_ops.abi3.so", "sgl_kernel/gemm.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 9))
    loaded = []
    monkeypatch.setattr(torch.ops, "load_library", lambda path: loaded.append(path))
    for name in ("vllm", "sgl-kernel"):
        library = fresh(name)
        assert library.found()
        assert library.version() is None
        library.broken()
    assert loaded == [
        str(tmp_path / "vllm/_C_stable_libtorch.abi3.so"),
        str(tmp_path / "sgl_kernel/sm100/common_ops.abi3.so"),
    ]
    assert not {"vllm", "sgl_kernel"} & set(sys.modules)


def test_a_file_that_is_no_library_is_a_reason(tmp_path, monkeypatch):
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm/_C.abi3.so").write_bytes(b"not a shared object")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "vllm is installed but does not load: " in fresh("vllm").problem(describe(torch.device("cpu")))


def test_a_package_without_its_op_library_is_told_from_a_broken_one(tmp_path, monkeypatch):
    (tmp_path / "vllm").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert fresh("vllm").problem(describe(torch.device("cpu"))) == (
        "vllm is installed but lacks the shared object vllm/_C"
    )


@pytest.mark.parametrize("function", deepgemm.FUNCTIONS)
@pytest.mark.parametrize("place", ["deep_gemm", "vllm/third_party/deep_gemm"])
def test_deepgemm_is_found_by_itself_and_in_vllm(tmp_path, monkeypatch, function, place):
    """A package that imports its parts relatively, under either name of the function."""
    package = tmp_path / place
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"from .parts import {function}\n")
    (package / "parts.py").write_text(f"def {function}(a, b, out): return 'called'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("deep_gemm", "deep_gemm.parts"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    library = fresh("deep-gemm")
    assert library.found()
    assert library.broken() is None
    assert library.loaded()(None, None, None) == "called"
    assert "vllm" not in sys.modules
    for name in ("deep_gemm", "deep_gemm.parts"):
        sys.modules.pop(name)


def test_deepgemm_without_a_cuda_toolkit(tmp_path, monkeypatch):
    package = tmp_path / "vllm/third_party/deep_gemm"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("assert False\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "AssertionError (it compiles its kernels on this machine" in fresh("deep-gemm").broken()
    assert "deep_gemm" not in sys.modules


@pytest.mark.parametrize(
    "name,module,words",
    [("marlin", "marlin", "has no mul: the package index's marlin"), ("q8-kernels", "_C", "LTX-Video's has other")],
)
def test_another_package_of_the_same_name_is_named(monkeypatch, name, module, words):
    wrong = types.ModuleType(module)
    monkeypatch.setitem(sys.modules, "marlin", wrong)
    monkeypatch.setitem(sys.modules, "q8_kernels_cuda", types.ModuleType("q8_kernels_cuda"))
    gemm = types.ModuleType("q8_kernels_cuda.gemm")
    gemm._C = wrong
    monkeypatch.setitem(sys.modules, "q8_kernels_cuda.gemm", gemm)
    assert words in fresh(name).broken()


def test_no_library_is_imported_before_it_is_wanted():
    from x2v_quant import kernels

    assert kernels.KERNELS
    assert not {"vllm", "sgl_kernel", "deep_gemm", "marlin", "q8_kernels", "q8_kernels_cuda"} & set(sys.modules)
    assert all(isinstance(library, Library) for library in LIBRARIES.values())
