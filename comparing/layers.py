"""Compares the layers of two models on the same inputs: rows sampled from the inputs of the reference's layers."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy
import torch

from ..common.decibels import decibels
from .metrics import energy
from .storage import stored

ROWS = 64  # tokens of each layer at each step
DRAWN = 4  # times as many are sampled first, because equal rows (a prompt's padding) count once
FEWEST = 4
MEMORY = 2**30  # bytes of RAM for all that is kept
SEED = 0

# layer -> (out_features, in_features)
Sizes = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Layer:
    """A layer of both models. `shape`: (out_features, in_features). `reference`, `candidate`: how each model stores its
    weight (storage.stored). `signal`: |y|^2 of the reference's outputs, `noise`: |y' - y|^2 of the candidate's on the
    same inputs, both summed over all rows and steps."""

    name: str
    shape: tuple[int, int]
    reference: str
    candidate: str
    signal: float
    noise: float

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio of the output in dB; inf if identical, -inf if not a number."""
        return decibels(self.signal, self.noise, float("inf"))

    @property
    def share(self) -> float:
        """Noise over signal; inf if not a number."""
        ratio = 0.0 if self.noise == 0 else self.noise / self.signal if self.signal else float("inf")
        return ratio if ratio < float("inf") else float("inf")


class Layers:
    """Callbacks for a Watch: `record` for the reference's layers, then `measure` for the candidate's."""

    def __init__(self, sizes: Sizes, steps: Collection[int]):
        bytes_of_a_row = sum(torch.float32.itemsize * (n + k) for n, k in sizes.values())
        self._sizes = sizes
        self._rows = min(ROWS, max(FEWEST, MEMORY // (max(len(steps), 1) * max(bytes_of_a_row, 1))))
        self._generator = torch.Generator().manual_seed(SEED)
        self._kept: dict[tuple[int, str], tuple[torch.Tensor, torch.Tensor]] = {}
        self._stored: dict[str, str] = {}
        self._found: dict[str, Layer] = {}

    def record(self, step: int, name: str, layer: torch.nn.Module, x: torch.Tensor) -> None:
        """Keep rows of x [..., K] and the layer's output for these rows alone, since kernels round larger batches
        differently."""
        rows = self._draw(x.reshape(-1, x.shape[-1]))
        self._stored[name] = stored(layer)
        self._kept[step, name] = rows.cpu(), layer.forward(rows).cpu()

    def measure(self, step: int, name: str, layer: torch.nn.Module, x: torch.Tensor) -> None:
        """Call the layer on the kept rows of this step and add up signal and noise. x: only its device and dtype are
        used."""
        kept = self._kept.pop((step, name), None)
        if kept is None:
            return
        rows, true = kept
        got = layer.forward(rows.to(x.device, x.dtype)).cpu()
        signal, noise = energy(true), energy(got.double() - true.double())
        before = self._found.get(name)
        if before is not None:
            signal, noise = signal + before.signal, noise + before.noise
        self._found[name] = Layer(name, self._sizes[name], self._stored[name], stored(layer), signal, noise)

    def found(self) -> tuple[Layer, ...]:
        """The layers that both models have called, in model order."""
        return tuple(self._found[name] for name in self._sizes if name in self._found)

    def _draw(self, x: torch.Tensor) -> torch.Tensor:
        """Random distinct rows of x [tokens, K], on its device."""
        drawn = x[torch.randperm(len(x), generator=self._generator)[: DRAWN * self._rows].to(x.device)]
        _, first = numpy.unique(drawn.float().cpu().numpy(), axis=0, return_index=True)
        return drawn[torch.from_numpy(numpy.sort(first)[: self._rows]).to(x.device)]
