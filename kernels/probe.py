"""One small multiplication against the reference before a kernel is used; a wrong answer is a reason not to."""

import functools

import torch

from ..formats import FORMATS
from .kernel import Kernel
from .reference import reference

# every kernel's multiples divide these
N, K = 256, 512
# an odd prompt; on a GPU also what takes a kernel's tiles for many tokens
ROWS = {"cpu": (33,), "cuda": (33, 1100)}
# per row: a kernel rounds its own activations and its output, never more than this
TOLERANCE = 0.04


@functools.cache
def failure(kernel: Kernel, device: torch.device) -> str | None:
    """Why `kernel` is unusable on `device`, as a sentence without its subject, or None; asked once in a process.

    The first token and the first weight row are constant, so that integer codes reach their extremes and an
    accumulator that saturates shows.
    """
    if kernel.name == "reference":
        return None
    stored_as = FORMATS[kernel.format]
    generator = torch.Generator().manual_seed(0)
    rows = ROWS.get(device.type, ROWS["cpu"])
    columns = max(K, stored_as.settings.get("convrot_groupsize", K))
    x = torch.randn((max(rows), columns), generator=generator)
    weight = torch.randn((N, columns), generator=generator) / columns**0.5
    x[0], weight[0], weight[1] = 1.0, 0.1, -0.1
    options = {}
    if stored_as.smooth:
        # powers of two, so that what is constant stays so where it is multiplied
        factor = 2.0 ** (torch.arange(columns) % 5 - 2)
        x, weight, options = x / factor, weight * factor, {"pre_quant_scale": factor}
    dtype = (kernel.requires.dtypes or (torch.bfloat16,))[0]
    x, bias = x.to(dtype), torch.randn(N, generator=generator).to(dtype)
    with torch.inference_mode():
        stored = stored_as.quantize(weight, dtype, **options)
        on_device, bias_there = stored.to(device), bias.to(device)
        for count in rows:
            expected = reference(
                x[:count].float(), kernel.format, stored._qdata, stored._params, bias, kernel.activation
            )
            try:
                y = kernel.linear(x[:count].to(device), on_device._qdata, on_device._params, bias_there).float().cpu()
            except Exception as error:  # whatever a library raises is the reason
                return f"fails on this device: {(str(error) or type(error).__name__).splitlines()[0]}"
            problem = _difference(y, expected)
            if problem is not None:
                return problem
    return None


def _difference(y: torch.Tensor, expected: torch.Tensor) -> str | None:
    if y.shape != expected.shape:
        return f"gives an output of shape {list(y.shape)} on this device, not {list(expected.shape)}"
    wrong = (y - expected).norm(dim=1) > TOLERANCE * expected.norm(dim=1)
    return "gives wrong numbers on this device" if bool((wrong | ~y.isfinite().all(dim=1)).any()) else None
