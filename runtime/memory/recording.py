"""How much RAM a calibration's tokens will take, told before anything is recorded."""

from dataclasses import dataclass

import comfy.model_management
import torch

from ...calibration.sample import SLACK
from ...common.sizes import amount
from ...linear.layers import linear_layers
from ..sharing.read_code import row_of

TOKEN_BYTES = 2  # of a channel
# of the free RAM: ComfyUI needs some while it samples
SHARE = 0.8
# what was recorded before stays until a further run has ended well
RUNS = 2
CPU = torch.device("cpu")


@dataclass(frozen=True)
class PlannedRecording:
    """`layers`: how many are recorded. `channels`: the sum of K over all inputs that differ. `asked`: tokens of each.
    `free`: bytes of RAM."""

    layers: int
    channels: int
    asked: int
    free: int

    @property
    def tokens(self) -> int:
        """As many as fit, in a second run too, at most `asked`."""
        return min(self.asked, int(SHARE * self.free / (RUNS * self._bytes(1))))

    @property
    def about(self) -> str:
        """One or two sentences for people."""
        if not self.asked:
            return f"Records the largest values of {self.layers} layers, and no tokens: enough for smoothing."
        takes = f"up to {self.tokens} tokens for each of {self.layers} layers"
        ram, again = (amount(runs * self._bytes(self.asked)) for runs in (1, RUNS))
        free = f"{amount(self.free)} are free"
        if self.tokens == self.asked:
            return f"Records {takes}: up to {ram} of RAM, {again} in a second run, {free}."
        return (
            f"Records only {takes}, because {self.asked} would take up to {ram} of RAM, {again} in a second run, and "
            f"{free}. Close other programs, or set tokens per layer to what fits."
        )

    def _bytes(self, tokens: int) -> int:
        return int(SLACK * tokens * self.channels * TOKEN_BYTES)


def planned_recording(model: torch.nn.Module, tokens: int) -> PlannedRecording:
    """For a diffusion model and the tokens that were asked for, of each linear layer. q, k and v count once, where they
    are known to get the same input."""
    layers = linear_layers(model)
    again = {id(layer) for module in model.modules() for layer in _sharing(module)}
    channels = sum(layer.in_features for layer in layers.values() if id(layer) not in again)
    return PlannedRecording(len(layers), channels, tokens, int(comfy.model_management.get_free_memory(CPU)))


def _sharing(module: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers of a module that get the input of another one of it."""
    row = row_of(module)
    return [getattr(module, name) for group in (row.groups if row else ()) for name in group[1:]]
