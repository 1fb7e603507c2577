"""How layers that are quantized in memory are rounded: by a method of rounding/, with what a calibration recorded."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import torch

from ..calibration import Calibration
from ..calibration.recorded import Recorded
from ..converting.rounded_rows import is_plain
from ..formats import FORMATS, before_repacking, original
from ..formats.convert import convert
from ..rounding import METHODS, Method, method_for, pieces, round_weight
from ..rounding.curvature import Curvatures
from ..rounding.estimate import Work
from ..rounding.methods import NOTHING, TOKENS
from ..rounding.record import words_of
from ..rounding.room import room
from ..schemes.plan import Plan
from .errors import QuantizeError

NEAREST = METHODS["nearest"]
# float32 copies of a layer's weight that are on the device at a time: while a LoRA is merged (the layer's own weight, a
# copy of it, the LoRA's product, that times its strength), and while one that was quantized is read or compared
MERGED, READ = 4, 3
FLOAT32 = torch.float32.itemsize


@dataclass(frozen=True)
class Rounder:
    """Rounds the weights of layers (names in the diffusion model). `method`: None for the best one of each layer.
    `calibration`: what the layers got to see, None without. A model that core reloads gets the same weights: a method
    gives the same from the same tokens."""

    method: Method | None = None
    calibration: Calibration | None = None

    def check(self) -> None:
        """Raise QuantizeError for a method that needs what was not recorded."""
        if self.method is None or self.method.needs == NOTHING:
            return
        name = self.method.name
        if self.calibration is None:
            raise QuantizeError(
                f"Rounding {name} needs recorded inputs of the layers, and no calibration is connected. Record one "
                "with Calibrate and Finish Calibration, or set rounding to auto."
            )
        if self.method.needs == TOKENS and not self.calibration.inputs:
            raise QuantizeError(
                f"Rounding {name} needs tokens, and this calibration has none. Record it again with tokens per "
                "layer above 0 in Calibrate, or set rounding to auto."
            )

    @property
    def recorded(self) -> Recorded:
        """What there is of each layer's input."""
        return Recorded(self.calibration)

    def calibrated(self) -> tuple[int, int]:
        """Calls of the model in the calibration, and the most tokens that it has of a layer's input; 0 without one."""
        return self.recorded.extent(() if self.calibration is None else self.calibration.inputs)

    def room(self, layer: str, shape: tuple[int, int], format_name: str, device: torch.device) -> int:
        """Bytes on the device while a weight of `shape` (N, K) is rounded, with its tokens and their Hessian."""
        plain = original(before_repacking(format_name))
        method = method_for(plain, self.method, self.recorded.of(layer))
        row = FORMATS[format_name if is_plain(plain, method) else plain]
        return room(shape, row, method, self.recorded.tokens(layer) if method.rounding == "gptq" else 0, device)

    def work(self, layer: str, shape: tuple[int, int], format_name: str) -> Work:
        """What rounding the layer will be, for an estimate."""
        plain = original(before_repacking(format_name))
        method = method_for(plain, self.method, self.recorded.of(layer))
        if is_plain(plain, method):
            return Work(shape, None)
        tokens = self.recorded.tokens(layer) if method.rounding == "gptq" else 0
        return Work(shape, FORMATS[plain].grid, tokens, self.recorded.key(layer))

    def quantized(
        self,
        weight: torch.Tensor,
        layer: str,
        format_name: str,
        dtype: torch.dtype,
        factor: torch.Tensor | None,
        curvatures: Curvatures | None = None,
    ):
        """float32 [N, K] -> (the weight in `format_name`, which reports `dtype`; the name of the method). factor: of a
        smoothed format, see round_weight. Raises ValueError for a shape that the format cannot have."""
        stored = before_repacking(format_name)
        method = method_for(original(stored), self.method, self.recorded.of(layer))
        if is_plain(original(stored), method):  # the layout's own way needs the least memory
            options = {} if factor is None else {"pre_quant_scale": factor}
            row = FORMATS[format_name]
            return row.wrap(pieces.nearest(weight, row, **options), dtype, tuple(weight.shape)), method.name
        tensors = round_weight(
            weight, stored, method, self.recorded.inputs(layer, method), factor, curvatures=curvatures
        )
        return convert(FORMATS[stored].wrap(tensors, dtype, tuple(weight.shape)), format_name), method.name


def sentences(plan: Plan, layers: Collection[str]) -> list[str]:
    """Sentences for the report: how many of `layers` (names in the filled plan) were rounded how; none where all were
    rounded to the nearest or keep the codes that they had."""
    counts = Counter(plan.layers[layer].rounding for layer in layers if plan.layers[layer].rounding)
    return [f"Rounded {words_of(counts)}."] if counts.keys() - {NEAREST.name} else []
