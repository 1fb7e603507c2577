"""4-bit codes with a scale for a group of input channels, symmetric and with zero points, in the encodings that files
of them have."""

import torch

GROUP = 128
LARGEST = 7
ZERO = 8
MIN_AMAX = 1e-5
SCALE = torch.float16  # as the files of others have it
PER_WORD = 8  # codes in an int32, the first one lowest
V1_ZEROS = 0x77777777  # GPTQ's first version stores zero points minus one


def codes_and_scale(weight: torch.Tensor, group: int = GROUP) -> tuple[torch.Tensor, torch.Tensor]:
    """weight [N, K] -> (int32 codes of -7 ... 7 [N, K], float16 scale [N, ceil(K / group)])."""
    groups = weight.float().split(group, dim=1)
    scale = torch.stack([one.abs().amax(dim=1).clamp(min=MIN_AMAX) / LARGEST for one in groups], dim=1).to(SCALE)
    codes = [(one / scale[:, i : i + 1].float()).round() for i, one in enumerate(groups)]
    return torch.cat(codes, dim=1).clamp(-LARGEST, LARGEST).int(), scale


def plain(weight: torch.Tensor, group: int = GROUP) -> dict[str, torch.Tensor] | None:
    """This pack's own: two columns in a byte. None unless K is even."""
    if weight.shape[1] % 2:
        return None
    codes, scale = codes_and_scale(weight, group)
    nibbles = codes + ZERO
    return {"weight": (nibbles[:, 0::2] | nibbles[:, 1::2] << 4).to(torch.uint8), "weight_scale": scale.float()}


def compressed_tensors(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """ "pack-quantized": eight columns in an int32. None unless K % 8 == 0."""
    if weight.shape[1] % PER_WORD:
        return None
    codes, scale = codes_and_scale(weight)
    return {"weight_packed": _words(codes), "weight_scale": scale, "weight_shape": torch.tensor(weight.shape)}


def gptq(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """Transposed: eight input channels in an int32. None unless N % 8 == K % 8 == 0."""
    n, k = weight.shape
    if n % PER_WORD or k % PER_WORD:
        return None
    codes, scale = codes_and_scale(weight)
    return {
        "qweight": _words(codes).t().contiguous(),
        "scales": scale.t().contiguous(),
        "qzeros": torch.full((scale.shape[1], n // PER_WORD), V1_ZEROS, dtype=torch.int32),
        "g_idx": torch.arange(k, dtype=torch.int32) // GROUP,
    }


def asymmetric(weight: torch.Tensor, group: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
    """weight [N, K] -> (int32 codes [N, K], float16 scale and int32 zero points [N, K / group]), both of 0 ... 15 and
    weight = (code - zero point) * scale. None unless N % 8 == K % group == 0."""
    n, k = weight.shape
    if n % PER_WORD or k % group:
        return None
    groups = weight.float().view(n, -1, group)
    least, most = groups.amin(dim=2).clamp(max=0), groups.amax(dim=2).clamp(min=0)
    scale = ((most - least).clamp(min=MIN_AMAX) / (2 * ZERO - 1)).to(SCALE)
    zeros = (-least / scale.float()).round().clamp(0, 15).int()
    codes = ((groups / scale.float().unsqueeze(2)).round() + zeros.unsqueeze(2)).clamp(0, 15).int()
    return codes.view(n, k), scale, zeros


def autoawq(weight: torch.Tensor, group: int = GROUP) -> dict[str, torch.Tensor] | None:
    """AutoAWQ's: eight output channels in an int32, those with even numbers first. None as `asymmetric`."""
    made = asymmetric(weight, group)
    if made is None:
        return None
    codes, scale, zeros = (one.t() for one in made)
    in_order = (0, 2, 4, 6, 1, 3, 5, 7)
    return {
        "qweight": _words(codes.unflatten(1, (-1, PER_WORD))[:, :, in_order].flatten(1) - ZERO),
        "qzeros": _words(zeros.unflatten(1, (-1, PER_WORD))[:, :, in_order].flatten(1) - ZERO),
        "scales": scale.contiguous(),
    }


def gptq_asymmetric(weight: torch.Tensor, group: int = GROUP, version: int = 1) -> dict[str, torch.Tensor] | None:
    """As `gptq`, with zero points; `version` 1 stores them minus one. None as `asymmetric`."""
    made = asymmetric(weight, group)
    if made is None:
        return None
    codes, scale, zeros = made
    stored = zeros.t() - (1 if version == 1 else 0) & 15
    return {
        "qweight": _words(codes - ZERO).t().contiguous(),
        "scales": scale.t().contiguous(),
        "qzeros": _words(stored - ZERO),
        "g_idx": torch.arange(weight.shape[1], dtype=torch.int32) // group,
    }


def marlin(weight: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """IST-DASLab's order. None unless N % 64 == 0 and K % 128 == 0."""
    n, k = weight.shape
    if n % 64 or k % GROUP:
        return None
    codes, scale = codes_and_scale(weight)
    tiles = codes.t().reshape(k // 16, 16, n // 64, 64).transpose(1, 2).reshape(-1, 16 * 64)
    words = _words(tiles[:, _tile_order()])
    width, order = _scale_order(scale.shape[1])
    return {
        "weight": words.view(k // 16, 2 * n),
        "weight_scale": scale.t().reshape(-1, width)[:, order].reshape(-1, n),
        "weight_workspace": torch.zeros(max(n // 128, 1) * 16, dtype=torch.int32),
    }


def _words(codes: torch.Tensor) -> torch.Tensor:
    """Codes [rows, 8 W] -> int32 [rows, W]."""
    nibbles = (codes + ZERO).long().view(codes.shape[0], -1, PER_WORD)
    return (nibbles << torch.arange(0, 32, 4)).sum(dim=2).to(torch.int32)


def _tile_order() -> list[int]:
    """Which code of 16 input by 64 output channels comes where: a thread of a tensor core's warp holds, of each 16
    output channels, two neighbouring inputs of both halves of the inputs, for two outputs 8 apart."""
    order = []
    for thread in range(32):
        for sixteenth in range(4):
            for neighbour in range(2):
                for output in range(2):
                    for half in range(2):
                        k = thread % 4 * 2 + neighbour + 8 * half
                        n = 16 * sixteenth + 8 * output + thread // 4
                        order.append(64 * k + n)
    return order


def _scale_order(groups: int) -> tuple[int, list[int]]:
    """(how many scales are permuted together, which one comes where)."""
    if groups == 1:
        return 32, [2 * i + j for i in range(4) for j in (0, 1, 8, 9, 16, 17, 24, 25)]
    return 64, [i + 8 * j for i in range(8) for j in range(8)]
