"""One row of the table of formats: how a weight is stored, by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from comfy_kitchen.tensor import QuantizedTensor, get_layout_class

from .grid import Grid

# the tensors of most formats, see Format
SCALED = ("codes", "scale")


@dataclass(frozen=True)
class Format:
    """`layout_name` is the comfy_kitchen layout. `tensors`: "codes", then the tensor fields of the layout's Params, in
    order. `activation`: what a kernel of this format makes of its input (see kernels/activation.py). `marker`: the
    format name in a saved layer's `comfy_quant` (core's where core reads the same bytes, else ours, which core
    refuses). `family`: formats that one scheme serves; those of them that are smoothed and set alike hold the same
    numbers in another order and are converted at load for the kernel that wants them. `core_reads`: whether core reads
    a weight with these Params as `marker` says; None: every one. `multiples`: what N and K have to be multiples of.
    `settings`: fields of Params that are no tensors and the same for every weight of the format, which a marker tells
    beside its name; `options`: what the layout's `quantize` takes beside them. `grid`: the values that a weight can
    have, where rounding may look for better ones than the nearest. `rotation`: input channels that are rotated
    together, 0 for none. `advised`: whether a search may choose it without being told to. `shared`: tensors that all
    rows have in common, the same for some of them alone."""

    name: str
    layout_name: str
    tensors: tuple[str, ...]
    activation: str
    marker: str
    family: str
    core_reads: Callable[[Any], bool] | None = None
    multiples: tuple[int, int] = (1, 1)
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    grid: Grid | None = field(default=None, hash=False)
    rotation: int = 0
    advised: bool = True
    shared: tuple[str, ...] = ()

    @property
    def layout(self) -> type:
        return get_layout_class(self.layout_name)

    @property
    def smooth(self) -> bool:
        """Whether activations are multiplied by a factor per channel before they are quantized."""
        return "pre_quant_scale" in self.tensors

    def fits(self, shape: tuple[int, int]) -> bool:
        """Whether a weight of `shape` (N, K) can be stored so."""
        return not any(size % multiple for size, multiple in zip(shape, self.multiples, strict=True))

    def wrap(self, tensors: dict[str, torch.Tensor], dtype: torch.dtype, shape: tuple[int, int]) -> QuantizedTensor:
        """The named tensors as they are -> a weight that reports `shape` (N, K) and `dtype`."""
        fields = {name: tensors[name] for name in self.tensors[1:]}
        params = self.layout.Params(**fields, **self.settings, orig_dtype=dtype, orig_shape=tuple(shape))
        return QuantizedTensor(tensors["codes"], self.layout_name, params)

    def marker_of(self, params: Any) -> str:
        """What a saved layer with these Params is marked as: `marker`, or `name` where core would misread it."""
        return self.marker if self.core_reads is None or self.core_reads(params) else self.name

    def parts(self, codes: torch.Tensor, params: Any) -> list[torch.Tensor]:
        """The tensors of a weight in the order of `tensors`: what a torch op can take."""
        return [codes, *(getattr(params, name) for name in self.tensors[1:])]

    def holds(self, weight: QuantizedTensor) -> bool:
        """Whether a weight is one of this format: of its layout, with the same tensors, and set alike."""
        params = weight._params
        alike = weight._layout_cls == self.layout_name and params._tensor_fields() == list(self.tensors[1:])
        return alike and all(getattr(params, name) == value for name, value in self.settings.items())

    def encode(self, weight: torch.Tensor, **options) -> dict[str, torch.Tensor]:
        """Float [N, K] -> the tensors of the format; options: what the layout's `quantize` takes."""
        codes, params = self.layout.quantize(weight, **self.settings, **self.options, **options)
        return dict(zip(self.tensors, self.parts(codes, params), strict=True))

    def joined(self, parts: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """The tensors of some rows each, in their order -> those of all: the first's of what is `shared`."""
        first = parts[0]
        if len(parts) == 1:
            return dict(first)
        return {
            name: first[name] if name in self.shared else torch.cat([part[name] for part in parts]) for name in first
        }

    def of_whole(self, weight: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `encode` takes, so that some rows of float `weight` [N, K] become what they are in all of it."""
        scale = None if self.grid is None else self.grid.of_whole(weight)
        return {} if scale is None else {"scale": scale}

    def quantize(self, weight: torch.Tensor, dtype: torch.dtype, **options) -> QuantizedTensor:
        """Float [N, K] -> a weight that reports `dtype`; nearest rounding, fresh scales. options: what else the
        layout's `quantize` takes, such as a `pre_quant_scale`."""
        return self.wrap(self.encode(weight, scale="recalculate", **options), dtype, tuple(weight.shape))
