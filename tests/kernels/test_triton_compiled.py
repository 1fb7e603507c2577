"""Every Triton kernel compiled for every architecture it is claimed for, no GPU needed: the real ops are called, with
each kernel compiled instead of launched, and what came out is read."""

import itertools
import re

import pytest
import torch

from x2v_quant.formats import FORMATS
from x2v_quant.kernels.triton_tiles import F16_CHUNK, SHARED_KIB, TILES, architecture_of

pytest.importorskip("triton", reason="triton is not installed: no wheel for this system")
from compiled_triton import spilled

from x2v_quant.kernels.triton_w4a8 import FEW_TOKENS

pytestmark = pytest.mark.slow
# product -> first and last compute capability of its rows
CLAIMED = {
    "int8": ((8, 0), (12, 0)),
    "fp8": ((8, 9), (12, 0)),
    "fp8-f16": ((8, 9), (12, 0)),
    "block128": ((8, 9), (12, 0)),
    "int4": ((8, 0), (12, 0)),
    "int4-zeros": ((8, 0), (12, 0)),
    "w4a8": ((8, 0), (12, 0)),
    "fp8-weight": ((8, 0), (8, 8)),
    "mxfp4": ((10, 0), (12, 0)),
    "mxfp6": ((10, 0), (12, 0)),
}
CAPABILITIES = ((8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0))
# products of 16-bit activations only
OF_16_BITS = ("int4", "int4-zeros", "fp8-weight")
# products of codes with scales of 32 channels
OF_BLOCKS = ("mxfp4", "mxfp6")
NOT_F16 = ((9, 0), (10, 0))
# every tile is compiled for these, and the widest, which needs the most, for the others
EVERY_TILE = ((8, 9), (9, 0))
# products that start after those: every tile everywhere
LATER = (10, 0)
SYNC = {
    "int8": "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    "fp8": "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",
    "fp8-f16": "mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16",
    "block128": "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32",
    "int4": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "int4-zeros": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "w4a8": "mma.sync.aligned.m16n8k32.row.col.satfinite.s32.s8.s8.s32",
    "fp8-weight": "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32",
    "mxfp4": "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::2X.f32.e2m1.e2m1.f32.ue8m0",
    "mxfp6": "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale.scale_vec::1X.f32.e4m3.e4m3.f32.ue8m0",
}
WGMMA = {"int8": "s32.s8.s8", "fp8": "f32.e4m3.e4m3", "block128": "f32.e4m3.e4m3", "int4": "f32.bf16.bf16"}
WGMMA |= {"int4-zeros": WGMMA["int4"], "w4a8": WGMMA["int8"]}
TCGEN05 = {
    "fp8": "kind::f8f6f4",
    "block128": "kind::f8f6f4",
    "int4": "kind::f16",
    "int4-zeros": "kind::f16",
    "mxfp4": "kind::mxf4.block_scale",
    "mxfp6": "kind::mxf8f6f4.block_scale",
}
MULTIPLIES = re.compile(r"(wgmma\.mma_async|mma\.sync|tcgen05\.mma)(\S*)")
# bytes a thread may spill: a few registers, outside the loop or hidden in it
SPILLED = 160
MANY = 1100
# products whose widest tile is for so many tokens: more take another
LAST = {"w4a8": FEW_TOKENS}


def expected_instruction(product, capability):
    if capability == (9, 0):
        return re.compile(r"wgmma\.mma_async\.sync\.aligned\.m64n\d+k\d+\." + WGMMA[product])
    if capability == (10, 0) and product in TCGEN05:
        return re.compile(r"tcgen05\.mma\.cta_group::1\." + TCGEN05[product])
    return re.compile(re.escape(SYNC[product]))


def cases():
    for product, (first, last) in CLAIMED.items():
        for capability in CAPABILITIES:
            if not first <= capability <= last or (product == "fp8-f16" and capability in NOT_F16):
                continue
            tiles = TILES[product, architecture_of(capability)]
            for most, tile in (
                tiles if capability in EVERY_TILE or last < EVERY_TILE[0] or first >= LATER else tiles[-1:]
            ):
                name = f"{product}-sm{capability[0]}{capability[1]}-{tile.m}x{tile.n}x{tile.k}"
                yield pytest.param(product, capability, most or LAST.get(product, MANY), id=name)


KERNELS = {
    "int8": "triton int8-channel",
    "fp8": "triton fp8-channel",
    "fp8-f16": "triton-f16 fp8-reduced",
    "block128": "triton fp8-block128",
    "int4": "triton int4-g128",
    "int4-zeros": "triton awq-w4a16",
    "w4a8": "triton w4a8-16",
    "fp8-weight": "triton fp8-channel #2",
    "mxfp4": "triton mxfp4",
    "mxfp6": "triton mxfp6",
}


def call(product, m, n=512, k=1024, dtype=torch.bfloat16, bias=True):
    """The kernel of a product, with tensors that need not hold anything."""
    x = torch.zeros(m, k, dtype=dtype)
    bias = torch.zeros(n, dtype=dtype) if bias else None
    if product in OF_BLOCKS:
        tensors = FORMATS[product].encode(torch.zeros(n, k)).values()
        return torch.ops.x2v_quant.linear(x, list(tensors), (n, k), bias, KERNELS[product])
    more = []
    blocks, groups = torch.zeros(-(-n // 128), -(-k // 128)), torch.zeros(n, -(-k // 128))
    scale = {"block128": blocks, "int4": groups}.get(product, torch.zeros(n, 1))
    if product == "w4a8":
        k += -k % 16
        x, scale = torch.zeros(m, k, dtype=dtype), torch.zeros(n, k // 16, dtype=torch.uint8)
        more = [torch.zeros(n), torch.zeros(16)]
        codes = torch.zeros(n, k // 2, dtype=torch.int8)
    elif product == "int8":
        codes = torch.zeros(n, k, dtype=torch.int8)
    elif product == "int4-zeros":
        k = -(-k // 64) * 64
        x, codes = torch.zeros(m, k, dtype=dtype), torch.zeros(n, k // 2, dtype=torch.int8)
        scale = torch.zeros(n, k // 64, dtype=torch.bfloat16)
        return torch.ops.x2v_quant.linear(x, [codes, scale, scale], (n, k), bias, KERNELS[product])
    elif product == "int4":
        codes = torch.zeros(n, k // 2, dtype=torch.uint8)
    else:
        codes = torch.zeros(n, k, dtype=torch.uint8).view(torch.float8_e4m3fn)
    return torch.ops.x2v_quant.linear(x, [codes, scale, *more], (n, k), bias, KERNELS[product])


@pytest.mark.parametrize("product,capability,tokens", list(cases()))
def test_every_tile_compiles_to_tensor_core_code(compiler, tmp_path, product, capability, tokens):
    compiler.use(capability)
    call(product, tokens)
    name, kernel = compiler.compiled[-1]
    assert name.endswith("gemm")
    instructions = {a + b for a, b in MULTIPLIES.findall(kernel.asm["ptx"])}
    assert instructions
    for instruction in instructions:
        assert expected_instruction(product, capability).match(instruction)
    assert kernel.metadata.shared <= SHARED_KIB[architecture_of(capability)] * 1024
    assert spilled(kernel, tmp_path) <= SPILLED


@pytest.mark.parametrize(
    "product,dtype,n,k,bias",
    [
        *(
            pytest.param(
                product, torch.float16, 20, 96 if product in OF_BLOCKS else 70, False, id=f"float16-tails-{product}"
            )
            for product in CLAIMED
        ),
        *(
            pytest.param(
                product, torch.float32, 257, 4128 if product in OF_BLOCKS else 4112, True, id=f"float32-tails-{product}"
            )
            for product in CLAIMED
            if product not in OF_16_BITS
        ),
    ],
)
def test_tails_and_other_dtypes_compile(compiler, product, dtype, n, k, bias):
    compiler.use(CLAIMED[product][0])
    call(product, 64, n, k, dtype, bias)
    _, kernel = compiler.compiled[-1]
    assert kernel.metadata.shared <= SHARED_KIB["sm86"] * 1024
    assert MULTIPLIES.search(kernel.asm["ptx"])


@pytest.mark.parametrize(
    "product,capability",
    [
        *(("int8", (8, 9)), ("fp8", (9, 0)), ("block128", (8, 9)), ("int4", (8, 0)), ("int4-zeros", (8, 0))),
        *(("mxfp4", (12, 0)), ("mxfp6", (10, 0))),
    ],
)
def test_any_number_of_tokens_meets_few_compiled_kernels(compiler, product, capability):
    """One compiled GEMM per tile and one quantizer, whatever M is: 1, even, odd, a multiple of 16 or not."""
    compiler.use(capability)
    numbers = sorted({m + d for m in (1, 16, 64, 256, 512, 1024, 2048) for d in (-1, 0, 1, 7)} - {0})
    assert len(numbers) > 20
    for m in numbers:
        call(product, m, n=128, k=256)
    variants = {}
    for name, kernel in compiler.compiled:
        variants.setdefault(name, set()).add(kernel.hash)
    gemm = next(name for name in variants if name.endswith("gemm"))
    assert len(variants.pop(gemm)) == len(TILES[product, architecture_of(capability)])
    assert all(len(hashes) == 1 for hashes in variants.values())


def test_float16_sums_are_short_in_every_tile():
    """k of the tile is what the float16 sum runs over."""
    tiles = [tile for (product, _), tiles in TILES.items() if product == "fp8-f16" for _, tile in tiles]
    assert tiles
    assert {tile.k for tile in tiles} == {F16_CHUNK}


def test_tables_cover_every_claim_and_every_number_of_tokens():
    claimed = {
        (product, architecture_of(capability))
        for product, (first, last) in CLAIMED.items()
        for capability in CAPABILITIES
        if first <= capability <= last and not (product == "fp8-f16" and capability in NOT_F16)
    }
    assert claimed == {key for key in TILES if key[1] != "amd"}
    for tiles in TILES.values():
        limits = [most for most, _ in tiles]
        assert limits[-1] is None
        assert all(a < b for a, b in itertools.pairwise(limits[:-1]))


@pytest.mark.parametrize("product", [product for product, name in TILES if name == "amd"])
@pytest.mark.parametrize("name,wave", [("gfx1100", 32), ("gfx1201", 32), ("gfx942", 64)])
def test_amd_gpus_multiply_with_their_matrix_units(compiler, product, name, wave):
    compiler.use_amd(name, wave)
    call(product, MANY)
    _, kernel = compiler.compiled[-1]
    assert re.search(r"v_(wmma_\w+_16x16x16|mfma_\w+_32x32x\d+)_?(iu8|i8|bf16)", kernel.asm["amdgcn"])
    assert kernel.metadata.shared <= SHARED_KIB["amd"] * 1024
    assert int(re.search(r"vgpr_spill_count: *(\d+)", kernel.asm["amdgcn"]).group(1)) <= SPILLED // 4
