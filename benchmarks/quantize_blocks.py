"""fp8 and fp4 with one scale per weight or per block, in LightX2V's encoding. Scales are float32."""

import torch

FP8_MAX = 448.0
E2M1_MAX = 6.0
MIN_AMAX = 1e-5
BLOCK, MX_BLOCK, NVFP4_BLOCK = 128, 32, 16
# what activations are taken to reach: fp8 is as precise far below it
INPUT_AMAX = 64.0
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
# 3 bits of exponent with a bias of 3, 2 of mantissa
E3M2 = (*(i / 16 for i in range(4)), *((1 + i % 4 / 4) * 2.0 ** (i // 4 - 3) for i in range(4, 32)))
# halfway between two neighbours of e2m1
E2M1_BETWEEN = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def fp8_tensor(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """One scale for the weight, one for every activation."""
    scale = weight.abs().amax().float().clamp(min=MIN_AMAX) / FP8_MAX
    return {"weight": _e4m3(weight.float() / scale), "weight_scale": scale, "input_scale": _one(INPUT_AMAX / FP8_MAX)}


def block128(weight: torch.Tensor) -> dict[str, torch.Tensor]:
    """A scale per 128 x 128; blocks at the edges are smaller."""
    n, k = weight.shape
    codes = torch.empty((n, k), dtype=torch.float8_e4m3fn)
    scale = torch.empty((-(-n // BLOCK), -(-k // BLOCK)))
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            where = slice(BLOCK * i, BLOCK * (i + 1)), slice(BLOCK * j, BLOCK * (j + 1))
            block = weight[where].float()
            scale[i, j] = block.abs().amax().clamp(min=MIN_AMAX) / FP8_MAX
            codes[where] = _e4m3(block / scale[i, j])
    return {"weight": codes, "weight_scale": scale}


def mxfp8(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """A power of two per 32 columns, e4m3's bits as uint8. None unless K % 32 == 0."""
    n, k = weight.shape
    if k % MX_BLOCK:
        return None
    blocks = weight.float().view(n, -1, MX_BLOCK)
    exponent = (blocks.abs().amax(dim=2).clamp(min=MIN_AMAX) / FP8_MAX).log2().ceil()
    codes = _e4m3(blocks / exponent.exp2().unsqueeze(2)).view(n, k)
    scale = tensor_core_order((exponent + 127).to(torch.uint8))
    return {"weight": codes.view(torch.uint8), "weight_scale": scale.view(torch.float8_e8m0fnu)}


def mxfp4(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """e2m1 codes, that of an even column in the low nibble, a power of two per 32 columns. None unless K % 32 == 0."""
    found = _minifloats(weight, E2M1)
    if found is None:
        return None
    codes, scale = found
    return {"weight": (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8), "weight_scale": scale}


def mxfp6(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """e3m2 codes, four in three bytes, a power of two per 32 columns. None unless K % 32 == 0."""
    found = _minifloats(weight, E3M2)
    if found is None:
        return None
    codes, scale = found
    word = sum(codes[:, i::4] << 6 * i for i in range(4))
    stream = torch.stack([word & 255, word >> 8 & 255, word >> 16], dim=2).flatten(1)
    return {"weight": stream.to(torch.uint8), "weight_scale": scale}


def _minifloats(weight: torch.Tensor, numbers: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor] | None:
    """numbers: those of the codes 0, 1, ...; the sign is the next bit -> (codes int64 [N, K], scales)."""
    n, k = weight.shape
    if k % MX_BLOCK:
        return None
    blocks = weight.float().view(n, -1, MX_BLOCK)
    exponent = (blocks.abs().amax(dim=2).clamp(min=MIN_AMAX) / numbers[-1]).log2().ceil()
    values = (blocks / exponent.exp2().unsqueeze(2)).view(n, k)
    grid = torch.tensor(numbers)
    codes = torch.bucketize(values.abs(), (grid[1:] + grid[:-1]) / 2) | (values < 0).int() * len(numbers)
    return codes, tensor_core_order((exponent + 127).to(torch.uint8)).view(torch.float8_e8m0fnu)


def nvfp4(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """e2m1 codes, an e4m3 scale per 16 columns and a global scale, which all divides. None unless K % 16 == 0."""
    n, k = weight.shape
    if k % NVFP4_BLOCK:
        return None
    global_scale = FP8_MAX * E2M1_MAX / weight.abs().amax().float().clamp(min=MIN_AMAX)
    blocks = weight.float().view(n, -1, NVFP4_BLOCK)
    scale = _e4m3(blocks.abs().amax(dim=2) * global_scale / E2M1_MAX)
    values = (blocks * global_scale / scale.float().clamp(min=2.0**-9).unsqueeze(2)).view(n, k)
    codes = torch.bucketize(values.abs(), torch.tensor(E2M1_BETWEEN)) | (values < 0).int() << 3
    return {
        "weight": (codes[:, 0::2] | codes[:, 1::2] << 4).to(torch.uint8),
        "weight_scale": tensor_core_order(scale.view(torch.uint8)).view(torch.float8_e4m3fn),
        "weight_global_scale": global_scale,
    }


def tensor_core_order(scale: torch.Tensor) -> torch.Tensor:
    """Bytes [N, blocks] -> [N to a multiple of 128, blocks to one of 4], as tensor cores read them: tiles of 128 x 4,
    in each of which a row's four bytes stand together and rows 32 apart are neighbours."""
    n, blocks = scale.shape
    rows, columns = -(-n // 128) * 128, -(-blocks // 4) * 4
    row, column = torch.arange(n).unsqueeze(1), torch.arange(blocks)
    tile = row // 128 * (columns // 4) + column // 4
    result = torch.zeros(rows * columns, dtype=torch.uint8)
    result[tile * 512 + row % 32 * 16 + row % 128 // 32 * 4 + column % 4] = scale
    return result.view(rows, columns)


def _e4m3(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn)


def _one(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float32)
