"""A kernel: how y = x W^T + b is computed for weights of one format, with what it requires as data."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .libraries import LIBRARIES, Library
from .machine import Machine

KINDS = {"cuda": "needs a CUDA GPU", "cpu": "runs on the CPU only"}
SIXTEEN_BIT = (torch.bfloat16, torch.float16)
# in the order in which a kernel is probed with them: not every GPU has bfloat16
FLOAT16_FIRST = (torch.float16, torch.bfloat16)
# what a kernel is good for, in words: by what it multiplies, nothing is timed
FAST, MEMORY, TESTS = "fast", "saves memory only", "slow, for tests"


@dataclass(frozen=True)
class Requirements:
    """Everything here is checked before a kernel is chosen; None, 1 or () asks for nothing. `library`: a name in
    LIBRARIES. `dtypes`: what x may be. Capabilities are NVIDIA's, both ends included."""

    kind: str | None = None
    nvidia: bool = False
    min_capability: tuple[int, int] | None = None
    max_capability: tuple[int, int] | None = None
    systems: tuple[str, ...] = ()
    vnni: bool = False
    library: str | None = None
    dtypes: tuple[torch.dtype, ...] = ()
    n_multiple: int = 1
    k_multiple: int = 1

    def unmet(
        self, machine: Machine, shape: tuple[int, int] | None = None, dtype: torch.dtype | None = None
    ) -> str | None:
        """The first requirement that `machine`, a weight of `shape` (N, K) or an x of `dtype` does not meet, as a
        sentence, or None."""
        if self.kind is not None and machine.kind != self.kind:
            return f"{KINDS[self.kind]}, this is {machine}"
        if self.nvidia and not machine.nvidia:
            return f"needs an NVIDIA GPU, this is {machine}"
        if self.min_capability and machine.nvidia and machine.capability < self.min_capability:
            return f"needs compute capability {_dotted(self.min_capability)} or newer, this is {machine}"
        if self.max_capability and machine.nvidia and machine.capability > self.max_capability:
            return f"has no code for compute capabilities above {_dotted(self.max_capability)}, this is {machine}"
        if self.systems and machine.system not in self.systems:
            return f"exists for {' and '.join(self.systems)} only, this is {machine.system}"
        if self.vnni and not machine.vnni:
            return "this CPU has no int8 dot-product instructions (VNNI), int8 would be slower than float"
        if dtype is not None and self.dtypes and dtype not in self.dtypes:
            names = " and ".join(str(d).removeprefix("torch.") for d in self.dtypes)
            return f"computes {names}, precision while computing is {str(dtype).removeprefix('torch.')}"
        if shape is not None:
            for size, multiple, word in ((shape[0], self.n_multiple, "out"), (shape[1], self.k_multiple, "in")):
                if size % multiple:
                    return f"needs {word}_features to be a multiple of {multiple}, this layer has {size}"
        if self.library is not None:
            return LIBRARIES[self.library].problem(machine)
        return None

    def words(self) -> str:
        """What has to be there, for a table: library, kind of device and compute capabilities."""
        words = [self.library] if self.library else []
        if self.kind == "cpu":
            words.append("CPU with VNNI" if self.vnni else "CPU")
        elif self.min_capability and self.max_capability:
            ends = dict.fromkeys((_dotted(self.min_capability), _dotted(self.max_capability)))
            words.append(f"compute capability {' to '.join(ends)}")
        elif self.min_capability:
            words.append(f"compute capability {_dotted(self.min_capability)} or newer")
        elif self.kind == "cuda":
            words.append("any CUDA GPU")
        words += self.systems
        return ", ".join(words) or "nothing"


ANYWHERE = Requirements()


def linux_gpu(
    library: Library,
    first: tuple[int, int],
    last: tuple[int, int] | None = None,
    n_multiple: int = 16,
    k_multiple: int = 16,
) -> Requirements:
    """What vLLM's and sgl-kernel's operators need: NVIDIA GPUs of compute capability `first` to `last`, 16-bit x, and a
    wheel, which exists for Linux alone."""
    return Requirements(
        "cuda",
        nvidia=True,
        min_capability=first,
        max_capability=last,
        systems=("Linux",),
        library=library.name,
        dtypes=FLOAT16_FIRST,
        n_multiple=n_multiple,
        k_multiple=k_multiple,
    )


@dataclass(frozen=True)
class Steps:
    """A kernel's `linear` in two steps, for layers that get the same x:
    multiply(quantize(x, params), M, x.dtype, codes, params, bias) is linear(x, codes, params, bias), bit for bit.

    quantize: (x [M, K] with M > 0, params) -> tensors, which depend on x and on those of params named in `reads`.
    multiply: (those tensors, M, the dtype of x, codes, params, bias [N] or None) -> [M, N] in that dtype.
    """

    quantize: Callable[[torch.Tensor, Any], list[torch.Tensor]]
    multiply: Callable[[list[torch.Tensor], int, torch.dtype, torch.Tensor, Any, torch.Tensor | None], torch.Tensor]
    reads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kernel:
    """What declare.py makes of a declaration. Several may have one name: for other formats, devices or variants.

    linear: (x [M, K], codes, params, bias [N] or None) -> [M, N] in x.dtype. x is float32, bfloat16 or float16, or what
    `requires.dtypes` says, and may be strided; codes and params are what the layout of `format` holds.
    activation: what x is multiplied as, a name in activation.SIMULATED.
    steps: the same in two steps; None if x is quantized in the pass that multiplies it, or not at all.
    for_tests: simulates the products of quantized values instead of multiplying them.
    alias: a name that rows of one format share: asked for by it, the first of them that can run is taken.
    """

    name: str
    format: str
    linear: Callable[[torch.Tensor, torch.Tensor, Any, torch.Tensor | None], torch.Tensor]
    activation: str
    summary: str
    requires: Requirements = ANYWHERE
    steps: Steps | None = None
    for_tests: bool = False
    alias: str = ""

    def called(self, name: str) -> bool:
        return name in (self.name, self.alias)

    @property
    def good_for(self) -> str:
        """FAST if it multiplies quantized values, MEMORY if it multiplies in 16 or 32 bits, TESTS if it simulates."""
        if self.for_tests:
            return TESTS
        return MEMORY if self.activation == "float" else FAST


def _dotted(capability: tuple[int, int]) -> str:
    return f"{capability[0]}.{capability[1]}"
