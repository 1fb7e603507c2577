"""Codes of 4 and 6 bits as numbers, worked out from their bits one by one."""

import torch

E2M1 = torch.tensor([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
# 3 bits of exponent with a bias of 3, 2 of mantissa; the first four are below the smallest normal number
E3M2 = torch.tensor([i / 16 if i < 4 else (1 + i % 4 / 4) * 2.0 ** (i // 4 - 3) for i in range(32)])


def e2m1(packed):
    """mxfp4 codes in memory, uint8 [N, K / 2] -> float32 [N, K]."""
    codes = torch.stack((packed % 16, packed // 16), dim=2).flatten(1).long()
    return E2M1[codes % 8] * (1 - 2 * (codes // 8))


def e3m2(packed):
    """mxfp6 codes in memory, uint8 [N, 3 K / 4] -> float32 [N, K]: the low nibbles, then the high bits."""
    n, k = packed.shape[0], packed.shape[1] // 3 * 4
    values = torch.empty(n, k)
    for column in range(k):
        low = packed[:, column // 2] >> 4 * (column % 2) & 15
        high = packed[:, k // 2 + column // 4] >> 2 * (column % 4) & 3
        codes = (low | high << 4).long()
        values[:, column] = E3M2[codes % 32] * (1 - 2 * (codes // 32))
    return values
