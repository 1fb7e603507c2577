"""How long one call of a model should take, by a GPU's published numbers: an estimate, nothing is timed."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..formats import FORMATS
from ..runtime.offload.settings import DISK
from .footprint import Footprint, nbytes
from .gpus import Gpu
from .placing import Place

# of its peak that a product reaches (estimated off compiled code: 65 to 90 %)
SHARE = 0.8
# bytes a second from RAM to a GPU (PCIe 4.0 with 8 lanes, or 3.0 with 16), and from a file
PCIE, FILE = 12e9, 2e9
# passes over the tokens that a Wan block takes beside its products (counted): norms, modulation, quantizing, residuals
PASSES = 49
# bytes moved for each value of a weight that becomes 16 bits before it is multiplied: written and read
WIDENED = 4
# bytes moved for each value of an input that is rotated in a pass of its own: read and written in 16 bits
ROTATED = 4


@dataclass(frozen=True)
class Rates:
    """`flops`: what a kernel multiplies -> products a second; `bandwidth`: bytes a second. `timed`: whether they are of
    a GPU that is known; without, only their ratios mean something."""

    flops: Mapping[str, float]
    bandwidth: float
    timed: bool = True


# of a device without a row: two 8-bit products in the time of one of 16 bits
UNKNOWN = Rates({"float": 1e12, "int8": 2e12, "fp8": 2e12, "nvfp4": 2e12}, 1e11, timed=False)


def rates_of(gpu: Gpu | None) -> Rates:
    if gpu is None:
        return UNKNOWN
    peaks = {"float": gpu.fp16, "int8": gpu.int8, "fp8": gpu.fp8, "nvfp4": gpu.nvfp4}
    return Rates({name: SHARE * 1e12 * (peak or gpu.fp16) for name, peak in peaks.items()}, gpu.bandwidth * 1e9)


def multiplied_as(activation: str) -> str:
    """A key of `Rates.flops` for what a kernel makes of its input: "int8-convrot64" -> "int8"."""
    first = activation.partition("-")[0]
    return {"mxfp8": "fp8"}.get(first, first if first in UNKNOWN.flops else "float")


def seconds(model: Footprint, formats: Mapping[str, str], activation: str, place: Place, rates: Rates) -> float:
    """For one call of the model with one prompt: weights that are fetched arrive while it computes. activation: what
    the quantized layers multiply. formats: layer -> format of those."""
    blocks = max(1, len(model.blocks))
    attention = 4 * model.tokens**2 * model.width * blocks / rates.flops["float"]
    moved = PASSES * blocks * model.tokens * model.width * 2
    products = 0.0
    for layer, (rows, columns) in model.layers.items():
        name, tokens = formats.get(layer), model.tokens_of(layer)
        kind = multiplied_as(activation) if name else "float"
        products += 2 * tokens * rows * columns / rates.flops[kind]
        moved += nbytes(name, (rows, columns))
        if name and kind == "float":
            moved += WIDENED * rows * columns
        if name and FORMATS[name].rotation:
            moved += ROTATED * tokens * columns
    fetched = place.streamed / (FILE if place.mode == DISK else PCIE)
    return max(attention + products + moved / rates.bandwidth, fetched)
