"""Triton's quantizers and rotations compiled for the architectures they are claimed for, no GPU needed."""

import re

import pytest
import torch

from x2v_quant.formats import FORMATS, ROTATIONS
from x2v_quant.formats.int4_convrot import NAME as INT4_CONVROT
from x2v_quant.kernels.ops import COMPUTATIONS, mx_like
from x2v_quant.kernels.triton import TRITON

pytest.importorskip("triton", reason="triton is not installed: no wheel for this system")
from allocated import Allocated
from compiled_triton import spilled

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("width", [5120, 13824, 20000])
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=["sm80", "sm90"])
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "plain"])
def test_quantizers_keep_their_rows_in_registers(compiler, tmp_path, width, capability, smooth):
    compiler.use(capability)
    for activation in ("int8",) if capability < (8, 9) else ("int8", "fp8"):
        factor = torch.ones(width) if smooth else None
        TRITON.loaded().quantize_tokens(torch.zeros(40, width, dtype=torch.bfloat16), activation, factor)
    for _, kernel in compiler.compiled:
        assert spilled(kernel, tmp_path) <= 16
        # 16 bytes a load: anything less and the memory would not be the limit
        assert re.search(r"ld\.global\S*\.v4\.b32", kernel.asm["ptx"])


@pytest.mark.parametrize("activation", ["mxfp4", "mxfp8"])
@pytest.mark.parametrize("capability", [(10, 0), (12, 0)], ids=["sm100", "sm120"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_quantizers_of_blocks_read_each_value_once(compiler, tmp_path, activation, capability, dtype):
    compiler.use(capability)
    x = torch.zeros(40, 5120, dtype=dtype)
    TRITON.loaded().quantize_blocks(x, *mx_like(x, int(activation[-1])), activation)
    ((_, kernel),) = compiler.compiled
    assert spilled(kernel, tmp_path) == 0
    loads = re.findall(r"ld\.global\S*", kernel.asm["ptx"])
    assert loads
    assert all(load.endswith(".v4.b32") for load in loads)


@pytest.mark.parametrize("group,width", [(4, 5120), (64, 1280), (256, 5120), (256, 13824), (256, 20480), (4096, 8192)])
@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (12, 0)], ids=["sm80", "sm90", "sm120"])
@pytest.mark.parametrize("smooth", [True, False], ids=["smooth", "plain"])
def test_rotation_stays_in_registers(compiler, tmp_path, group, width, capability, smooth):
    compiler.use(capability)
    factor = torch.ones(width) if smooth else None
    TRITON.loaded().quantize_tokens(torch.zeros(40, width, dtype=torch.bfloat16), "int8", factor, group)
    _, kernel = compiler.compiled[-1]
    assert spilled(kernel, tmp_path) <= 16
    assert re.search(r"ld\.global\S*\.v4\.b32", kernel.asm["ptx"])
    # up to 256 values come from other lanes of the warp, and only a factor goes through shared memory
    assert kernel.metadata.shared <= (32768 if smooth or group > 256 else 64)


@pytest.mark.parametrize("group", ROTATIONS[INT4_CONVROT].keys())
@pytest.mark.parametrize("capability", [(8, 0), (9, 0), (12, 0)], ids=["sm80", "sm90", "sm120"])
def test_so_does_rotation_alone_in_one_kernel_for_any_number_of_tokens(compiler, tmp_path, group, capability):
    compiler.use(capability)
    for tokens in (1, 16, 37):
        TRITON.loaded().rotated(torch.zeros(tokens, group * 5, dtype=torch.bfloat16), group)
    assert len({kernel.hash for _, kernel in compiler.compiled}) == 1
    _, kernel = compiler.compiled[-1]
    assert spilled(kernel, tmp_path) <= 16
    # eight values a load, or the four of a group
    assert re.search(rf"ld\.global\S*\.v{4 if group > 4 else 2}\.b32", kernel.asm["ptx"])
    assert kernel.metadata.shared <= 64


@pytest.mark.parametrize("name", ROTATIONS[INT4_CONVROT].values())
def test_rotated_tokens_are_the_only_memory_beside_the_output(compiler, name):
    """Never a float32 copy of all tokens."""
    compiler.use((9, 0))
    m, n, k = 4096, 64, 512
    x, tensors = torch.zeros(m, k, dtype=torch.bfloat16), list(FORMATS[name].encode(torch.zeros(n, k)).values())
    with Allocated() as allocated:
        y = COMPUTATIONS[f"triton {name}"].linear(x, tensors, (n, k), None)
    assert {kernel for kernel, _ in compiler.compiled} == {"rotate_values", "int4_gemm"}
    assert y.shape == (m, n)
    assert allocated.bytes == x.nbytes + y.nbytes


@pytest.mark.parametrize("name,wave", [("gfx1100", 32), ("gfx942", 64)])
def test_amd_gpus_rotate_too(compiler, name, wave):
    compiler.use_amd(name, wave)
    x = torch.zeros(40, 5120, dtype=torch.bfloat16)
    TRITON.loaded().quantize_tokens(x, "int8", torch.ones(5120), 256)
    TRITON.loaded().rotated(x, 256)
    for _, kernel in compiler.compiled:
        assert int(re.search(r"vgpr_spill_count: *(\d+)", kernel.asm["amdgcn"]).group(1)) == 0
