"""One weight quantized a few rows at a time: in float32, without a float32 copy of the whole."""

from collections.abc import Callable, Iterable, Iterator

import torch

from ..checkpoints.checkpoint import StoredWeight
from ..formats import FORMATS, ROTATIONS, UNSMOOTHED, int8_convrot, w4a8
from ..formats.fp8_tensor import Fp8TensorLayout
from ..formats.layout import scale_for
from ..formats.w4a8_fit import choose_codebook, sampled_rows
from ..kernels.activation import NVFP4_MAX
from .errors import ConvertError
from .thread_pool import ThreadPool

# values of one chunk: they and the steps between stay in a CPU's cache
CHUNK = 1 << 19
# one scale per row
BY_CHANNEL = ("int8-channel", "fp8-channel")
# families whose rows are written as soon as they are quantized
ROWS_ALONE = (*BY_CHANNEL, int8_convrot.NAME, w4a8.NAME)
# formats whose rows have a table of levels between them
OF_ONE_TABLE = tuple(ROTATIONS[w4a8.NAME].values())
# the tallest tile in which a format stores rows
TILE = 128

# rows start to stop of a weight -> float32 [stop - start, K], which may be overwritten
Rows = Callable[[int, int], torch.Tensor]


def _nvfp4_scale(amax: torch.Tensor) -> torch.Tensor:
    """The next one that is its reciprocal's reciprocal: LightX2V's files store 1 / scale."""
    scale = scale_for(amax, NVFP4_MAX)
    while (again := 1 / (1 / scale)) != scale:
        scale = again
    return scale


# formats with one scale for the whole weight, which a first pass over it finds: what makes it of the absolute maximum
WHOLE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "fp8-tensor": lambda amax: scale_for(amax, Fp8TensorLayout.MAX),
    "nvfp4": _nvfp4_scale,
}


def joined(found: Iterable[StoredWeight], shape: tuple[int, int], format_name: str) -> StoredWeight:
    """What `in_parts` yields as one weight of `shape` (N, K)."""
    return StoredWeight(format_name, shape, FORMATS[format_name].joined([stored.tensors for stored in found]))


def in_parts(
    rows: Rows,
    shape: tuple[int, int],
    format_name: str,
    place: str,
    scale_dtype: torch.dtype = torch.float32,
    factor: torch.Tensor | None = None,
) -> Iterator[StoredWeight]:
    """The weight of `shape` (N, K) in a format, a few rows after the other: codes and scales of those rows, and every
    time the tensors that all rows share. place: file and key, for the error. scale_dtype: the scales of BY_CHANNEL are
    rounded to it before codes are chosen, so that a file can store them in it. factor: float32 [K], the columns are
    divided by it; a smoothed format keeps it, for any other the file has to say so elsewhere.

    Raises ConvertError for values that are not finite, ValueError for a shape that the format cannot hold.
    """
    if FORMATS[format_name].smooth:
        for stored in in_parts(rows, shape, UNSMOOTHED[format_name], place, scale_dtype, factor):
            yield StoredWeight(format_name, stored.shape, stored.tensors | {"pre_quant_scale": factor})
        return
    if factor is not None:
        rows = divided(rows, factor)
    pieces = spans(shape)
    with ThreadPool() as workers:
        whole: dict[str, torch.Tensor] = {}
        if format_name in WHOLE:
            found = workers.map(lambda span: amax_of(rows(*span), place), pieces)
            whole["scale"] = WHOLE[format_name](torch.stack(list(found)).amax())
        elif format_name in OF_ONE_TABLE:
            whole["codebook_tensor"] = codebook_of(rows, shape, format_name)
        yield from workers.map(lambda span: _part(rows(*span), format_name, place, scale_dtype, whole), pieces)


def _part(
    chunk: torch.Tensor, format_name: str, place: str, scale_dtype: torch.dtype, whole: dict[str, torch.Tensor]
) -> StoredWeight:
    """chunk: float32, overwritten; whole: what the layout takes of the whole weight."""
    row, options = FORMATS[format_name], {"scale": "recalculate", **whole}
    if format_name in BY_CHANNEL:
        options["scale"] = rounded_scale(scale_for(_row_amax(chunk, place), row.layout.MAX), scale_dtype)
    elif "scale" not in whole:
        amax_of(chunk, place)
    shape = tuple(chunk.shape)
    return StoredWeight(format_name, shape, row.encode(chunk, inplace_ops=True, **options))


def codebook_of(rows: Rows, shape: tuple[int, int], format_name: str) -> torch.Tensor:
    """The table of levels, float32 [16], of a whole weight: few of its rows tell it."""
    some = sampled_rows(*shape).tolist()
    sample = rows(0, shape[0]) if len(some) == shape[0] else torch.cat([rows(row, row + 1) for row in some])
    return choose_codebook(sample, FORMATS[format_name].rotation)


def divided(rows: Rows, factor: torch.Tensor) -> Rows:
    """Columns / factor, float32 [K]."""
    return lambda start, stop: rows(start, stop) / factor


def spans(shape: tuple[int, int], values: int = CHUNK) -> list[tuple[int, int]]:
    """(start, stop) of the rows of each chunk of about so many values: whole tiles of rows, but for the last."""
    step = max(1, values // (shape[1] * TILE)) * TILE
    return [(start, min(start + step, shape[0])) for start in range(0, shape[0], step)]


def _row_amax(chunk: torch.Tensor, place: str) -> torch.Tensor:
    """[rows, 1]"""
    amax = torch.maximum(chunk.amax(dim=1, keepdim=True), -chunk.amin(dim=1, keepdim=True))
    _require_finite(amax, place)
    return amax


def amax_of(chunk: torch.Tensor, place: str) -> torch.Tensor:
    """The largest |value| of a chunk, []. Raises ConvertError for NaN and infinity."""
    amax = torch.maximum(chunk.amax(), -chunk.amin())
    _require_finite(amax, place)
    return amax


def _require_finite(amax: torch.Tensor, place: str) -> None:
    if not bool(amax.isfinite().all()):
        what = "NaN" if bool(amax.isnan().any()) else "infinity"
        raise ConvertError(f"{place} contains {what}. The model is damaged: download it again, or merge it again.")


def rounded_scale(scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Positive float32 values of `dtype`."""
    return scale.to(dtype).float().clamp_(min=torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps)
