"""A kernel: how y = x W^T + b is computed for some formats on some devices, with what it requires as data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..machine import Machine

KINDS = {"cuda": "needs a CUDA GPU", "cpu": "runs on the CPU only"}


@dataclass(frozen=True)
class Requirements:
    """Everything here is checked before a call; None or 1 asks for nothing. `probe` makes one tiny call on the real
    device and returns the reason why it failed, in words, or None; it runs last."""

    kind: str | None = None
    nvidia: bool = False
    min_capability: tuple[int, int] | None = None
    max_capability: tuple[int, int] | None = None
    vnni: bool = False
    n_multiple: int = 1
    k_multiple: int = 1
    probe: Callable[[torch.device], str | None] | None = None

    def unmet(self, machine: Machine, shape: tuple[int, int] | None) -> str | None:
        """The first requirement that `machine` or a weight of `shape` (N, K) does not meet, as a sentence, or None."""
        if self.kind is not None and machine.kind != self.kind:
            return f"{KINDS[self.kind]}, this is {machine}"
        if self.nvidia and not machine.nvidia:
            return f"needs an NVIDIA GPU, this is {machine}"
        if self.min_capability and machine.nvidia and machine.capability < self.min_capability:
            return f"needs compute capability {_dotted(self.min_capability)} or newer, this is {machine}"
        if self.max_capability and machine.nvidia and machine.capability > self.max_capability:
            return f"has no code for compute capabilities above {_dotted(self.max_capability)}, this is {machine}"
        if self.vnni and not machine.vnni:
            return "this CPU has no int8 dot-product instructions (VNNI), int8 would be slower than float"
        if shape is not None:
            for size, multiple, word in ((shape[0], self.n_multiple, "out"), (shape[1], self.k_multiple, "in")):
                if size % multiple:
                    return f"needs {word}_features to be a multiple of {multiple}, this layer has {size}"
        if self.probe is not None and machine.live is not None:
            return self.probe(machine.live)
        return None


@dataclass(frozen=True)
class Kernel:
    """linear(x [M, K], codes, params, bias [N] or None) -> [M, N] in x.dtype; x is float32, bfloat16 or float16 and
    may be strided; codes and params are what the format's layout holds. Of those that can run, the highest `priority`
    is taken. `activation` is what x is multiplied as: "int8", "fp8" or "float"."""

    name: str
    formats: tuple[str, ...]
    linear: Callable[[torch.Tensor, torch.Tensor, Any, torch.Tensor | None], torch.Tensor]
    activation: str
    priority: int
    summary: str
    requires: Requirements = field(default_factory=Requirements)


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
