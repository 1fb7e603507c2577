"""A library that is there without the function that is wanted of it."""

import sys
import types

import pytest

from x2v_quant.kernels import deepgemm, shared_objects, vllm
from x2v_quant.kernels.libraries import LacksError


def test_deepgemm_without_its_function(monkeypatch):
    monkeypatch.setitem(sys.modules, "deep_gemm", types.ModuleType("deep_gemm"))
    sys.modules["deep_gemm"].__spec__ = types.SimpleNamespace()
    with pytest.raises(LacksError, match="has neither fp8_gemm_nt nor gemm_fp8_fp8_bf16_nt"):
        deepgemm.load_function()


def test_vllm_for_another_kind_of_device(monkeypatch):
    loaded = []
    monkeypatch.setattr(shared_objects, "load", lambda *names: loaded.append(names))
    with pytest.raises(LacksError, match="has no cutlass_scaled_mm: it was built for another kind of device"):
        vllm.load_ops()
    assert loaded == [("vllm", "_C", "_C_stable_libtorch")]
