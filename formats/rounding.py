"""Float32 values in units of the scale -> codes: nearest with ties to even, or stochastic from a seed."""

import torch

# e4m3: 3 mantissa bits of float32's 23; below 2**-6 the step is constant, 2**-9.
DROPPED_BITS = 20
FLOAT32_MANTISSA, FLOAT32_BIAS = 23, 127
SMALLEST_NORMAL = 2.0**-6
SUBNORMAL_STEP = 2.0**-9


def to_codes(
    values: torch.Tensor, dtype: torch.dtype, largest: float, seed: int | None, smallest: float | None = None
) -> torch.Tensor:
    """Clamp `values` (float32, overwritten) to what lies between `smallest`, by default -largest, and `largest`, and
    round them to `dtype`, int8 or float8_e4m3fn.

    A seed above 0 rounds up or down in proportion to the distance, so that the mean is the value itself (core's LoRA
    requantization); None or 0 rounds to nearest.
    """
    smallest = -largest if smallest is None else smallest
    values.clamp_(smallest, largest)
    if not seed:
        return (values.round_() if dtype is torch.int8 else values).to(dtype)
    random = random_like(values, seed)
    rounded = values.add_(random).floor_() if dtype is torch.int8 else _stochastic_e4m3(values, random)
    return rounded.clamp_(smallest, largest).to(dtype)


def random_like(values: torch.Tensor, seed: int) -> torch.Tensor:
    """Uniform [0, 1) float32, the same for the same seed, shape and device."""
    generator = torch.Generator(device=values.device).manual_seed(seed)
    return torch.rand(values.shape, dtype=torch.float32, device=values.device, generator=generator)


def _stochastic_e4m3(values: torch.Tensor, random: torch.Tensor) -> torch.Tensor:
    """Float32 values -> float32 values on the e4m3 grid, up or down by `random` [0, 1) of the same shape.

    Adding random bits below the last kept mantissa bit and cutting them off rounds a normal number so; the carry into
    the exponent is the next binade's first value, as it must be.
    """
    bits = values.view(torch.int32) + (random * 2**DROPPED_BITS).to(torch.int32)
    normal = (bits & -(2**DROPPED_BITS)).view(torch.float32)
    subnormal = values.abs().div_(SUBNORMAL_STEP).add_(random).floor_().mul_(SUBNORMAL_STEP).copysign_(values)
    return torch.where(values.abs() < SMALLEST_NORMAL, subnormal, normal)


def to_minifloat(
    values: torch.Tensor, exponent_bits: int, mantissa_bits: int, largest: float, seed: int | None
) -> torch.Tensor:
    """Clamp `values` (float32, overwritten) to +-largest and round them to floats of so many bits without infinity or
    NaN -> their codes, uint8: sign, exponent and mantissa in the lowest bits. `seed` as in `to_codes`."""
    sign = (values.view(torch.int32) >> 31).bitwise_and_(1 << (exponent_bits + mantissa_bits))
    values.abs_().clamp_(max=largest)
    # the exponent of e2m1's smallest normal number is 0, of e3m2's -2; below, the step is constant
    smallest = 2 - (1 << (exponent_bits - 1))
    exponent = (values.view(torch.int32) >> FLOAT32_MANTISSA).clamp_(min=smallest + FLOAT32_BIAS)
    per_step = (2 * FLOAT32_BIAS + mantissa_bits - exponent).bitwise_left_shift_(FLOAT32_MANTISSA).view(torch.float32)
    steps = values.mul_(per_step)
    steps = steps.add_(random_like(steps, seed)).floor_() if seed else steps.round_()
    # a normal number has 2^mantissa_bits steps at least; what a full binade carries goes into the exponent
    codes = exponent.sub_(smallest + FLOAT32_BIAS).bitwise_left_shift_(mantissa_bits).add_(steps.to(torch.int32))
    return codes.clamp_(max=(1 << (exponent_bits + mantissa_bits)) - 1).bitwise_or_(sign).to(torch.uint8)
