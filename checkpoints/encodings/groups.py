"""Which group an input channel belongs to, where a file says so channel by channel."""

import torch

from ...formats.int4_group128 import GROUP
from .encoding import Tensors, WrongValueError


def check_order(tensors: Tensors, shape: tuple[int, int], group: int = GROUP) -> None:
    """Raise WrongValueError unless "g_idx", if there is one, has channel k in group k // `group`: in a file made with
    act-order it has not, and no layout here can hold that."""
    if "g_idx" not in tensors:
        return
    expected = torch.arange(shape[1]) // group
    stored = tensors["g_idx"].flatten().to(torch.int64)
    # compressed-tensors writes -1 where there is no order
    if not torch.equal(stored, expected) and not bool((stored == -1).all()):
        cause = "reorders the input channels (act-order, desc_act)"
        raise WrongValueError("g_idx", cause, "Get a file that was made without it.")
