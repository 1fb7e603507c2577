"""codes * scale in float32, rounded once: what every dequantization comes down to."""

import torch

# e4m3's bits, shifted to where float16 has exponent and mantissa, are the value times 2**-8: float16's exponent bias is
# 15, e4m3's is 7. Exact for all 254 finite codes (the two NaNs would become +-480).
SHIFT, MASK, SHIFTED_BY = 7, -0x4080, 2.0**8


def scaled(codes: torch.Tensor, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """codes (int8 or float8_e4m3fn) * scale (float32, broadcasts to the codes' shape) -> `dtype`."""
    if codes.dtype is torch.float8_e4m3fn and codes.device.type == "cpu":
        # torch's own cast on CPUs takes twice as long as all of this
        bits = codes.view(torch.int8).to(torch.int16).bitwise_left_shift_(SHIFT).bitwise_and_(MASK)
        codes, scale = bits.view(torch.float16), scale * SHIFTED_BY
    elif codes.dtype is torch.float8_e4m3fn:
        codes = codes.to(torch.bfloat16)  # exact, and torch has no arithmetic on float8
    # out= lets the GPU round in the same pass instead of writing a float32 copy of the weight
    return torch.mul(codes, scale, out=torch.empty(codes.shape, dtype=dtype, device=codes.device))


def grouped(values: torch.Tensor, size: int) -> torch.Tensor:
    """[N, K] -> [N, ceil(K / size), size], the tail filled with zeros; a view where there is none."""
    tail = -values.shape[1] % size
    if tail:
        padded = values.new_zeros((values.shape[0], values.shape[1] + tail))
        padded[:, : values.shape[1]] = values
        values = padded
    return values.unflatten(1, (-1, size))


def ungrouped(values: torch.Tensor, columns: int) -> torch.Tensor:
    """The inverse of `grouped`: [N, G, size] -> contiguous [N, columns]."""
    return values.flatten(1)[:, :columns].contiguous()
