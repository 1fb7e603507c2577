"""What our layouts share: codes, a scale, their names in a file, and how comfy_kitchen comes to know them."""

from dataclasses import dataclass

import torch
from comfy_kitchen.tensor import QuantizedLayout, register_layout_class
from comfy_kitchen.tensor.base import BaseLayoutParams

# What rows, blocks and groups of zeros get, never a zero scale: near float32's smallest normal number, so that no
# weight is too small for a scale of its own, with some room for multiples of it.
SMALLEST_SCALE = 2.0**-120


class ScaledLayout(QuantizedLayout):
    """A subclass gives NAME (registry key), MAX (largest code), `quantize` and `dequantize`, and registers itself with
    `register`."""

    NAME: str
    MAX: float

    @dataclass(frozen=True)
    class Params(BaseLayoutParams):
        """scale: float32; orig_dtype: dtype of the dequantized weight; orig_shape: (N, K)."""

    @classmethod
    def get_plain_tensors(cls, qtensor):
        return qtensor._qdata, qtensor._params.scale

    @classmethod
    def requantize_kwargs(cls, qtensor):
        """What `quantize` takes to give a weight like this one again, beside its scales."""
        return {}

    @classmethod
    def state_dict_tensors(cls, qdata, params):
        return {"": qdata, "_scale": params.scale}


def register(layout: type[ScaledLayout]) -> type[ScaledLayout]:
    """Class decorator: make the layout known to comfy_kitchen (twice does no harm: the last one wins)."""
    register_layout_class(layout.NAME, layout)
    return layout


def fresh(scale: torch.Tensor | str | None) -> bool:
    """Whether core asks for scales of the weight's own: None or "recalculate"."""
    return scale is None or isinstance(scale, str)


def scale_for(amax: torch.Tensor, largest: float) -> torch.Tensor:
    """The scale that takes an absolute maximum to the largest code, with the floor for zeros; may reuse `amax`."""
    return amax.div_(largest).clamp_(min=SMALLEST_SCALE)
