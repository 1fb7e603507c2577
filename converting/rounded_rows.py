"""One weight by a method that searches or makes up for errors: a few rows at a time, as in rows.py, on the GPU if there
is one."""

from collections.abc import Iterator

import torch

from ..checkpoints.checkpoint import StoredWeight
from ..formats import FORMATS, UNSMOOTHED
from ..kernels.machine import default_device
from ..rounding import LayerInputs, Method, round_weight
from ..rounding.curvature import Curvatures
from .rows import BY_CHANNEL, OF_ONE_TABLE, WHOLE, Rows, amax_of, codebook_of, divided, rounded_scale, spans
from .thread_pool import ThreadPool

# values of a chunk, by the type of the device: as many as its memory has room for some float32 copies of
CHUNKS = {"cpu": 1 << 24, "cuda": 1 << 27}


def is_plain(format_name: str, method: Method) -> bool:
    """Whether a method does to a format what rows.py does faster: codes to the nearest, scales that clip nothing."""
    grid = FORMATS[UNSMOOTHED.get(format_name, format_name)].grid
    return grid is None or (method.rounding == "nearest" and (method.scales == "absmax" or not grid.factors))


def chunk_of(device: torch.device) -> int:
    """Values that are rounded at a time."""
    return CHUNKS.get(device.type, CHUNKS["cpu"])


def rounded_in_parts(
    rows: Rows,
    shape: tuple[int, int],
    format_name: str,
    place: str,
    scale_dtype: torch.dtype,
    factor: torch.Tensor | None,
    method: Method,
    inputs: LayerInputs,
    curvatures: Curvatures,
) -> Iterator[StoredWeight]:
    """As rows.in_parts, whose arguments come first. The others: see rounding.round_weight.

    Raises ConvertError for values that are not finite.
    """
    device = default_device()
    plain = UNSMOOTHED.get(format_name, format_name)
    alone = method.rounding == "nearest" and device.type == "cpu"
    pieces = spans(shape) if alone else spans(shape, chunk_of(device))
    whole = _whole(rows if factor is None else divided(rows, factor), shape, plain, place)

    def store(scale: torch.Tensor) -> torch.Tensor:
        return rounded_scale(scale, scale_dtype) if plain in BY_CHANNEL else scale

    def made(span: tuple[int, int]) -> StoredWeight:
        chunk = rows(*span)
        amax_of(chunk, place)
        on_device = None if whole is None else whole.to(device)
        tensors = round_weight(
            chunk.to(device), format_name, method, inputs, factor, on_device, store, curvatures=curvatures
        )
        return StoredWeight(format_name, tuple(chunk.shape), {name: tensor.cpu() for name, tensor in tensors.items()})

    if not alone:
        yield from map(made, pieces)
        return
    with ThreadPool() as workers:
        yield from workers.map(made, pieces)


def _whole(rows: Rows, shape: tuple[int, int], format_name: str, place: str) -> torch.Tensor | None:
    """The scale of the whole weight, or its table of levels, if the format has one."""
    if format_name in OF_ONE_TABLE:
        return codebook_of(rows, shape, format_name)
    if format_name not in WHOLE:
        return None
    with ThreadPool() as workers:
        found = list(workers.map(lambda span: amax_of(rows(*span), place), spans(shape)))
    return WHOLE[format_name](torch.stack(found).amax())
