"""The tensors that a LoRA file has for one layer: whether they are complete, and fit the layer."""

from collections.abc import Iterator, Mapping

import torch

from .errors import LoRAError
from .shapes import BIAS, GLORA, WHOLE, matrix, product
from .targets import Places, Target, bias_of

# suffix -> what has to stand beside it, any of these
PARTNERS = {
    "lora_up.weight": ("lora_down.weight",),
    "lora_down.weight": ("lora_up.weight",),
    "hada_w1_a": ("hada_w1_b",),
    "hada_w1_b": ("hada_w2_a",),
    "hada_w2_a": ("hada_w2_b",),
    "hada_w2_b": ("hada_w1_a",),
    "lokr_w1": ("lokr_w2", "lokr_w2_a"),
    "lokr_w1_a": ("lokr_w1_b",),
    "lokr_w1_b": ("lokr_w2", "lokr_w2_a"),
    "lokr_w2": ("lokr_w1", "lokr_w1_a"),
    "lokr_w2_a": ("lokr_w2_b",),
    "lokr_w2_b": ("lokr_w1", "lokr_w1_a"),
    **{one: (other,) for one, other in zip(GLORA, (*GLORA[1:], GLORA[0]), strict=True)},
}
NO_BIAS = "is for a bias, and the layer has none"

# suffix -> (key in the file, tensor)
Parts = dict[str, tuple[str, torch.Tensor]]


def check_parts(file: str, parts: Mapping[str, tuple[str, torch.Tensor]]) -> None:
    """Raises LoRAError for a matrix without the other, and an alpha of several values."""
    for suffix, partners in PARTNERS.items():
        if suffix in parts and not any(partner in parts for partner in partners):
            beside = " or ".join(partners)
            raise LoRAError(f"{file}: {parts[suffix][0]} has no {beside} beside it. Download the file again.")
    if "alpha" in parts and parts["alpha"][1].numel() != 1:
        key, alpha = parts["alpha"]
        raise LoRAError(f"{file}: {key} has shape {list(alpha.shape)}, not one value. Download the file again.")


def misfits(target: Target, parts: Parts, places: Places) -> Iterator[tuple[list[str], str, bool]]:
    """(suffixes, why they do not fit, whether it is for their size)."""
    shape = places.shape(target)
    factors = [suffix for suffix in parts if suffix not in (*WHOLE, *BIAS)]
    if shape is not None:
        try:
            given = product({suffix: parts[suffix][1] for suffix in factors}, shape)
        except ValueError as error:
            yield factors, f"does not fit: {error}", False
        else:
            if given is not None and given != matrix(shape):
                yield factors, _sizes(given, matrix(shape)), True
        for suffix in [s for s in WHOLE if s in parts and parts[s][1].shape != shape]:
            yield [suffix], _sizes(parts[suffix][1].shape, shape), True
    for suffix in [s for s in BIAS if s in parts]:
        bias = bias_of(target)
        wanted = places.shape(bias)
        if bias not in places:
            yield [suffix], NO_BIAS, False
        elif wanted is not None and parts[suffix][1].shape != wanted:
            yield [suffix], _sizes(parts[suffix][1].shape, wanted), True


def _sizes(given, wanted) -> str:
    return f"is for a tensor of {list(given)}, the model has {list(wanted)}"
