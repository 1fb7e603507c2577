"""What is written: tensors that are made together, with their types and shapes known before."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Spec:
    """Type and shape of a tensor to come."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tensor: torch.Tensor) -> "Spec":
        return cls(tensor.dtype, tuple(tensor.shape))

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Unit:
    """`specs`: by tensor name. `parts()`: (tensor name, the next of its values in order), until all of `specs` is
    there; asked for once, when its turn has come."""

    name: str
    specs: dict[str, Spec]
    parts: Callable[[], Iterator[tuple[str, torch.Tensor]]]

    @property
    def nbytes(self) -> int:
        return sum(spec.nbytes for spec in self.specs.values())

    def under(self, prefix: str) -> "Unit":
        """The same with `prefix` before the name of every tensor."""

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            yield from ((f"{prefix}{name}", values) for name, values in self.parts())

        return Unit(self.name, {f"{prefix}{name}": spec for name, spec in self.specs.items()}, parts)
