"""w4a8's codebook: the 16 levels that a 4-bit code stands for, in units of the scale of its group, rising.

Lloyd-Max levels have the smallest mean square error for what is rounded to them. Rotated weights are Gaussian, and each
group is divided by its absolute maximum: one table serves them all, but for a weight that is heavy-tailed even so.
"""

import torch

LEVELS = 16
# core's table to the digit, which its fast kernels know: found from samples, so the two halves differ a little
GAUSSIAN = (
    *(-0.980602, -0.794529, -0.638165, -0.500986, -0.377321, -0.263187, -0.155210, -0.050720),
    *(0.052541, 0.156985, 0.265284, 0.379533, 0.502636, 0.638953, 0.794876, 0.980671),
)
# excess kurtosis of the divided weights from which a table of their own is fitted; Gaussian ones are near -0.5
HEAVY_TAILED = -0.1
# what core looks at: values for the kurtosis and for the fit, drawn with this seed, and passes of the fit
KURTOSIS_VALUES, FITTED_VALUES, SEED, PASSES = 1 << 19, 300_000, 0, 25


def gaussian(device: torch.device) -> torch.Tensor:
    """float32 [16]"""
    return torch.tensor(GAUSSIAN, dtype=torch.float32, device=device)


def codebook_for(values: torch.Tensor) -> torch.Tensor:
    """float32 [16] for rotated weights of any shape whose groups were divided by their absolute maximum: `gaussian`, or
    a table fitted to heavy-tailed ones."""
    drawn = _drawn(values.flatten(), KURTOSIS_VALUES).float()
    deviations = (drawn - drawn.mean()) / (drawn.std() + 1e-9)
    if float(deviations.pow(4).mean()) - 3 <= HEAVY_TAILED:
        return gaussian(values.device)
    return fitted(values)


def fitted(values: torch.Tensor) -> torch.Tensor:
    """float32 [16], Lloyd's algorithm from the values' quantiles: each level becomes the mean of what is nearest."""
    drawn = _drawn(values.flatten(), FITTED_VALUES).float()
    codebook = torch.quantile(drawn, torch.linspace(0, 1, LEVELS, device=values.device))
    for _ in range(PASSES):
        codes = nearest(drawn, codebook)
        means = codebook.clone()
        for code in codes.unique().tolist():
            means[code] = drawn[codes == code].mean()
        codebook = means
    return codebook.contiguous()


def nearest(values: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    """The code, int64, of the level that is nearest to each value, the lower of two. levels: rising, float32 [16], or
    [M, 16] for the rows of values [M, ...]."""
    above = torch.searchsorted(levels, values.contiguous())
    lower, upper = (above - 1).clamp_(min=0), above.clamp_(max=LEVELS - 1)
    to_lower, to_upper = (values.sub(of_codes(levels, codes)).abs_() for codes in (lower, upper))
    return torch.where(to_upper < to_lower, upper, lower)


def of_codes(levels: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """The levels, as `nearest` takes them, that int64 codes stand for."""
    return levels[codes] if levels.ndim == 1 else levels.gather(1, codes)


def _drawn(values: torch.Tensor, count: int) -> torch.Tensor:
    """`count` of the values, with repetitions; all of them if there are no more."""
    if values.numel() <= count:
        return values
    generator = torch.Generator(device=values.device).manual_seed(SEED)
    return values[torch.randint(0, values.numel(), (count,), device=values.device, generator=generator)]
