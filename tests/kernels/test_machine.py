"""What is read off a CPU."""

import pytest
import torch

from x2v_quant.kernels import machine

needs_capabilities = pytest.mark.skipif(
    not hasattr(torch.cpu, "get_capabilities"), reason="this torch does not say what a CPU can"
)


@needs_capabilities
@pytest.mark.parametrize(
    "name,flags,faster",
    [
        ("AMD EPYC", {"avx512_bf16", "avx512_vnni"}, True),
        ("AMD EPYC", {"avx2"}, False),
        ("Intel Xeon", {"avx512_bf16", "avx512_vnni"}, False),
        ("Intel Xeon", {"avx512_bf16", "amx_bf16"}, True),
        ("", set(), False),
    ],
)
def test_bfloat16_where_it_is_faster_than_float32(name, flags, faster, monkeypatch):
    found = {"cpu_name": name, **dict.fromkeys(("avx2", "avx512_bf16", "avx512_vnni", "amx_bf16"), False)}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found | dict.fromkeys(flags, True))
    assert machine.cpu_has_bf16() == faster
