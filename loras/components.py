"""The components of a LoRA for one layer (up, down, alpha ...): checks that they are complete and fit the layer."""

from collections.abc import Iterator, Mapping

import torch

from .errors import LoRAError
from .shapes import BIAS, GLORA, WHOLE, matrix, product
from .targets import LoRATargets, Target, bias_of

# suffix -> suffixes of which one has to be there too
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
Components = dict[str, tuple[str, torch.Tensor]]


def check_components(file: str, components: Mapping[str, tuple[str, torch.Tensor]]) -> None:
    """Raises LoRAError for a factor without its partner, and for an alpha that is not one value."""
    for suffix, partners in PARTNERS.items():
        if suffix in components and not any(partner in components for partner in partners):
            beside = " or ".join(partners)
            raise LoRAError(f"{file}: {components[suffix][0]} has no {beside} beside it. Download the file again.")
    if "alpha" in components and components["alpha"][1].numel() != 1:
        key, alpha = components["alpha"]
        raise LoRAError(f"{file}: {key} has shape {list(alpha.shape)}, not one value. Download the file again.")


def misfits(target: Target, components: Components, targets: LoRATargets) -> Iterator[tuple[list[str], str, bool]]:
    """Yields (suffixes, why they do not fit `target`, whether the reason is their size)."""
    shape = targets.shape(target)
    factors = [suffix for suffix in components if suffix not in (*WHOLE, *BIAS)]
    if shape is not None:
        try:
            given = product({suffix: components[suffix][1] for suffix in factors}, shape)
        except ValueError as error:
            yield factors, f"does not fit: {error}", False
        else:
            if given is not None and given != matrix(shape):
                yield factors, _sizes(given, matrix(shape)), True
        for suffix in [s for s in WHOLE if s in components and components[s][1].shape != shape]:
            yield [suffix], _sizes(components[suffix][1].shape, shape), True
    for suffix in [s for s in BIAS if s in components]:
        bias = bias_of(target)
        wanted = targets.shape(bias)
        if bias not in targets:
            yield [suffix], NO_BIAS, False
        elif wanted is not None and components[suffix][1].shape != wanted:
            yield [suffix], _sizes(components[suffix][1].shape, wanted), True


def _sizes(given, wanted) -> str:
    return f"is for a tensor of {list(given)}, the model has {list(wanted)}"
