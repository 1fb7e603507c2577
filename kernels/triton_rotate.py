"""Groups of channels times the Hadamard matrix of ConvRot, in registers. Importing this needs triton.

The matrix of 4^n is a Kronecker product of n times H4, so its product is one step of H4 for each digit of a channel's
number to the base 4. H4 = R (J / 2 - 1), where J is all ones and R reverses: a step is half the sum of four values less
each of them. All reversals together reverse a group, for which all but its last LOW channels are read in that order.
"""

import torch
import triton
import triton.language as tl

# channels that are read in one go, and reversed in registers
LOW = tl.constexpr(16)
# values of one program of `rotate_values`
VALUES = 4096


@triton.jit
def source_channels(channels, GROUP: tl.constexpr):
    """Which channels of x to load as `channels`, for `rotate`. Runs of LOW stay as they are, so that loads are wide."""
    if GROUP <= LOW:
        return channels
    else:
        return tl.max_contiguous(tl.multiple_of(channels ^ (GROUP - LOW), LOW), LOW)


@triton.jit
def rotate(values, GROUP: tl.constexpr):
    """float32 [ROWS, WIDTH], loaded from `source_channels` -> each GROUP of channels times H, sums of four in float32.
    GROUP: 4^n, divides WIDTH."""
    SIZE: tl.constexpr = values.shape[0] * values.shape[1]
    REVERSED: tl.constexpr = GROUP if GROUP < LOW else LOW
    result = tl.flip(tl.reshape(values, (SIZE // REVERSED, REVERSED)), 1)
    for digit in tl.static_range(6):
        if 4**digit < GROUP:
            fours = tl.reshape(result, (SIZE // 4 // 4**digit, 4, 4**digit))
            result = tl.sum(fours, axis=1, keep_dims=True) * 0.5 - fours
    return tl.reshape(result, (values.shape[0], values.shape[1]))


@triton.jit(do_not_specialize=["groups"])
def rotate_values(x_ptr, out_ptr, groups, GROUP: tl.constexpr, WIDTH: tl.constexpr):
    """WIDTH values of `groups` groups per program, as `rotate` in float32, rounded once. GROUP divides WIDTH."""
    start = tl.program_id(0).to(tl.int64) * WIDTH
    values = tl.arange(0, WIDTH)
    # a multiple of GROUP, so that loads are wide
    inside = values < groups.to(tl.int64) * GROUP - start
    x = tl.load(x_ptr + start + source_channels(values, GROUP), mask=inside, other=0.0).to(tl.float32)
    result = rotate(x[None, :], GROUP).to(out_ptr.dtype.element_ty)
    tl.store(out_ptr + start + values[None, :], result, mask=inside[None, :])


def rotated(x: torch.Tensor, group: int) -> torch.Tensor:
    """x [M, K] float, M > 0 -> each group of channels times H, [M, K] in x.dtype, with no other memory. group: a power
    of 4 up to VALUES that divides K."""
    x = x.contiguous()
    out = torch.empty_like(x)
    with torch.cuda.device_of(x):
        rotate_values[(triton.cdiv(x.numel(), VALUES),)](
            x, out, x.numel() // group, GROUP=group, WIDTH=VALUES, num_warps=8
        )
    return out
