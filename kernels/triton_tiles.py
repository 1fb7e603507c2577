"""Which tile a Triton kernel takes: a fixed table by product, architecture and number of tokens, nothing is tuned at
run time, so that a new number of tokens never compiles or measures anything."""

import functools
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Tile:
    """One program computes [m, n] outputs, k channels of the sum at a time."""

    m: int
    n: int
    k: int
    warps: int
    stages: int

    def arguments(self) -> dict[str, int]:
        """The keyword arguments of a launch."""
        return {
            "BLOCK_M": self.m,
            "BLOCK_N": self.n,
            "BLOCK_K": self.k,
            "num_warps": self.warps,
            "num_stages": self.stages,
        }


# KiB of shared memory that one program may use, by the name of an architecture below
SHARED_KIB = {"sm80": 163, "sm86": 99, "sm90": 227, "sm100": 227, "amd": 64}

# (product, architecture) -> (most tokens, tile) rows in rising order; None: any number.
# Few tokens read each weight once: narrow tiles, long k. Many tokens: the widest tile that the registers hold, because
# its bytes per multiplication are the fewest. sm90 and sm100 multiply 64 rows or more at a time.
_WIDE_8BIT = ((64, Tile(64, 64, 256, 4, 4)), (1024, Tile(128, 128, 128, 8, 4)), (None, Tile(128, 256, 128, 8, 4)))
_SYNC_8BIT = (
    (16, Tile(16, 64, 256, 4, 4)),
    (64, Tile(64, 64, 128, 4, 4)),
    (512, Tile(128, 128, 64, 8, 4)),
    (None, Tile(128, 256, 64, 8, 4)),
)
_AMD_8BIT = ((64, Tile(64, 64, 128, 4, 2)), (None, Tile(128, 128, 64, 8, 2)))
# the float16 sum of a chunk and the float32 sum share the registers; the chunk is what bounds the float16 sum
F16_CHUNK = 64
_F16 = (
    (16, Tile(16, 64, F16_CHUNK, 4, 5)),
    (64, Tile(64, 64, F16_CHUNK, 4, 5)),
    (512, Tile(128, 128, F16_CHUNK, 8, 4)),
    (None, Tile(128, 256, F16_CHUNK, 8, 4)),
)
# one block of scales per step
_BLOCK128 = ((16, Tile(16, 64, 128, 4, 5)), (64, Tile(64, 64, 128, 4, 4)), (None, Tile(128, 128, 128, 8, 3)))
_WIDE_BLOCK128 = ((64, Tile(64, 64, 128, 4, 5)), (None, Tile(128, 128, 128, 8, 4)))
# 16-bit activations, weights expanded in registers; k divides the group of 128
_WEIGHT_ONLY = ((16, Tile(16, 64, 128, 4, 4)), (64, Tile(64, 64, 64, 4, 4)), (None, Tile(128, 128, 64, 8, 3)))
_SM90_INT4 = ((64, Tile(64, 64, 128, 4, 4)), (None, Tile(128, 128, 64, 8, 4)))
_SM100_INT4 = ((64, Tile(64, 64, 128, 4, 4)), (None, Tile(64, 256, 64, 8, 4)))
# k divides groups of 64; taller tiles of the newer two have no registers left for the sums of activations
_WITH_ZEROS = ((64, Tile(64, 64, 64, 4, 4)), (None, Tile(128, 128, 64, 8, 3)))
_WIDE_ZEROS = ((64, Tile(64, 64, 64, 4, 4)), (None, Tile(64, 256, 64, 8, 4)))
# 4-bit weights that become int8 in registers, for few tokens; more take "int8"
_W4A8 = ((16, Tile(16, 64, 128, 4, 4)), (None, Tile(64, 64, 128, 4, 3)))
_WIDE_W4A8 = ((None, Tile(64, 64, 128, 4, 4)),)
# sm100 multiplies scaled codes for 128 rows or more at a time; fewer become 16-bit numbers before they are multiplied
_SYNC_MXFP4 = (
    (16, Tile(16, 64, 256, 4, 4)),
    (64, Tile(64, 64, 256, 4, 4)),
    (512, Tile(128, 128, 128, 8, 4)),
    (None, Tile(128, 256, 128, 8, 4)),
)
_SYNC_MXFP6 = (
    (16, Tile(16, 64, 128, 4, 4)),
    (64, Tile(64, 64, 128, 4, 3)),
    (None, Tile(128, 128, 128, 8, 3)),
)
_WIDE_MX = ((1024, Tile(128, 128, 128, 8, 4)), (None, Tile(128, 256, 128, 8, 4)))
_AMD_WEIGHT_ONLY = ((None, Tile(64, 64, 64, 4, 2)),)

TILES = {
    ("int8", "sm80"): _SYNC_8BIT,
    ("int8", "sm86"): _SYNC_8BIT,
    ("int8", "sm90"): _WIDE_8BIT,
    ("int8", "sm100"): _SYNC_8BIT,
    ("int8", "amd"): _AMD_8BIT,
    ("fp8", "sm86"): _SYNC_8BIT,
    ("fp8", "sm90"): _WIDE_8BIT,
    ("fp8", "sm100"): _WIDE_8BIT,
    ("fp8-f16", "sm86"): _F16,
    ("block128", "sm86"): _BLOCK128,
    ("block128", "sm90"): _WIDE_BLOCK128,
    ("block128", "sm100"): _WIDE_BLOCK128,
    ("int4", "sm80"): _WEIGHT_ONLY,
    ("int4", "sm86"): _WEIGHT_ONLY,
    ("int4", "sm90"): _SM90_INT4,
    ("int4", "sm100"): _SM100_INT4,
    ("int4", "amd"): _AMD_WEIGHT_ONLY,
    ("int4-zeros", "sm80"): _WITH_ZEROS,
    ("int4-zeros", "sm86"): _WITH_ZEROS,
    ("int4-zeros", "sm90"): _WIDE_ZEROS,
    ("int4-zeros", "sm100"): _WIDE_ZEROS,
    ("int4-zeros", "amd"): _AMD_WEIGHT_ONLY,
    ("w4a8", "sm80"): _W4A8,
    ("w4a8", "sm86"): _W4A8,
    ("w4a8", "sm90"): _WIDE_W4A8,
    ("w4a8", "sm100"): _W4A8,
    ("w4a8", "amd"): _AMD_WEIGHT_ONLY,
    ("mxfp4", "sm86"): _SYNC_MXFP4,
    ("mxfp4", "sm100"): _WIDE_MX,
    ("mxfp6", "sm86"): _SYNC_MXFP6,
    ("mxfp6", "sm100"): _WIDE_MX,
    ("fp8-weight", "sm80"): _WEIGHT_ONLY,
    ("fp8-weight", "sm86"): _WEIGHT_ONLY,
    ("fp8-weight", "amd"): _AMD_WEIGHT_ONLY,
}


def tile_for(product: str, tokens: int, device: torch.device) -> Tile:
    """The tile for a product (first half of a key of TILES) of `tokens` rows."""
    rows = TILES[product, architecture(device)]
    return next(tile for most, tile in rows if most is None or tokens <= most)


@functools.cache
def architecture(device: torch.device) -> str:
    """The name in SHARED_KIB that `device` goes by; a GPU newer than this table is treated as the smallest NVIDIA one,
    as is a CPU, where Triton's interpreter runs."""
    if device.type != "cuda":
        return "sm86"
    if torch.version.hip is not None:
        return "amd"
    return architecture_of(torch.cuda.get_device_capability(device))


def architecture_of(capability: tuple[int, int]) -> str:
    """NVIDIA compute capability -> a name in SHARED_KIB: 8.6, 8.9 and 12.x have 99 KiB and no wgmma."""
    if capability in ((8, 0), (8, 7)):
        return "sm80"
    return {9: "sm90", 10: "sm100", 11: "sm100"}.get(capability[0], "sm86")
