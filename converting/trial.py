"""Some rows of a weight rounded as all of them would be, for a search that wants to know the error."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..calibration.output_error import TOKENS
from ..formats import FORMATS
from ..kernels.machine import default_device
from ..rounding import METHODS, LayerInputs, Method, round_weight
from ..rounding.curvature import Curvatures
from .rounded_rows import is_plain

# share of the recorded inputs that nothing is rounded by
UNSEEN = 0.25
# of curvatures of one input in several bases, so many bytes stay
KEPT_BYTES = 1 << 29


class Bases:
    """The curvatures of one input, plain, rotated and smoothed, as long as they are small."""

    def __init__(self):
        self._by_basis: dict[tuple, Curvatures] = {}

    def of(self, basis: tuple, width: int) -> Curvatures:
        """width: K."""
        if (len(self._by_basis) + 1) * width**2 * torch.float32.itemsize > KEPT_BYTES and basis not in self._by_basis:
            self._by_basis.clear()
        return self._by_basis.setdefault(basis, Curvatures())


@dataclass(frozen=True)
class Trial:
    """method(format) -> how the layer is rounded. inputs: all that was recorded."""

    method: Callable[[str], Method]
    inputs: LayerInputs
    bases: Bases

    @property
    def unseen(self) -> torch.Tensor | None:
        """float32 [M, K], recorded inputs that nothing is rounded by: errors of those that are would be too small. None
        if there are too few."""
        count = self._unseen
        return self.inputs.tokens[:count].to(torch.float32) if count else None

    @property
    def _unseen(self) -> int:
        return 0 if self.inputs.tokens is None else min(TOKENS, int(len(self.inputs.tokens) * UNSEEN))

    def rounded(
        self, weight: torch.Tensor, format_name: str, whole: torch.Tensor | None, factor: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        """weight: float32 [M, K], some rows. whole: the scale of all, where the format has one. factor: float32 [K] ->
        the tensors of the format, on the CPU."""
        method = self.method(format_name)
        if is_plain(format_name, method):
            smoothing = {} if factor is None else {"pre_quant_scale": factor}
            return FORMATS[format_name].encode(weight, scale="recalculate" if whole is None else whole, **smoothing)
        device = default_device()
        tokens = self.inputs.tokens
        seen = LayerInputs(
            None if tokens is None else tokens[self._unseen :], self.inputs.mean_squares, self.inputs.key
        )
        row = FORMATS[format_name]
        curvatures = self.bases.of((row.rotation, row.smooth), weight.shape[1])
        on_device = None if whole is None else whole.to(device)
        made = round_weight(weight.to(device), format_name, method, seen, factor, on_device, curvatures=curvatures)
        return {name: tensor.cpu() for name, tensor in made.items()}


TO_THE_NEAREST = Trial(lambda format_name: METHODS["nearest"], LayerInputs(), Bases())
