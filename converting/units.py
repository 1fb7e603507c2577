"""What is written: tensors that are made together, with their types and shapes known before."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

# bytes that are read, quantized and written in a second, about, where a weight is rounded to the nearest
BYTES_PER_SECOND = 200_000_000


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
    there; asked for once, when its turn has come. `seconds`: what making them takes beyond reading and writing."""

    name: str
    specs: dict[str, Spec]
    parts: Callable[[], Iterator[tuple[str, torch.Tensor]]]
    seconds: float = 0.0

    @property
    def nbytes(self) -> int:
        return sum(spec.nbytes for spec in self.specs.values())

    @property
    def work(self) -> int:
        """Its share of a run, in bytes that could be written meanwhile."""
        return self.nbytes + int(self.seconds * BYTES_PER_SECOND)

    def under(self, prefix: str) -> "Unit":
        """The same with `prefix` before the name of every tensor."""

        def parts() -> Iterator[tuple[str, torch.Tensor]]:
            yield from ((f"{prefix}{name}", values) for name, values in self.parts())

        return replace(self, specs={f"{prefix}{name}": spec for name, spec in self.specs.items()}, parts=parts)


def in_order(units: Sequence[Unit], keys: Mapping[str, tuple]) -> list[Unit]:
    """The units with those of one key together, where the first of them is. keys: unit -> key, none for one that stays
    where it is. Keys begin alike for what is best close together."""
    places: dict[tuple, int] = {}

    def place(of: tuple[int, Unit]) -> tuple[int, ...]:
        number, unit = of
        key = keys.get(unit.name, (unit.name,))
        return tuple(places.setdefault(key[: length + 1], number) for length in range(len(key)))

    return [unit for _, unit in sorted(enumerate(units), key=place)]
