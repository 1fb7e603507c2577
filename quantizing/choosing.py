"""Selects the layers of a loaded MODEL or CLIP to quantize, by the rules of its family and the user's lines."""

import torch

from ..layer_rules import Selection, parse_overrides, select
from ..linear.layers import linear_layers
from ..schemes import AUTO, DIT, T5, SchemeChoice
from .model import DIFFUSION_MODEL
from .planning import format_for
from .rotation import with_rotation
from .weights import shape_of


def select_in_model(patcher, format_name: str, lines: str, choice: SchemeChoice, rotation: str = AUTO) -> Selection:
    """format_name: a format, or "auto" for one that this machine multiplies. lines: the user's rules, one
    "pattern = format" or "pattern = keep" per line. rotation: of `format_name`, one of ROTATIONS. Raises RuleError, or
    QuantizeError for a format that cannot be rotated so."""
    wanted = format_for(format_name, DIT, choice, patcher.load_device)
    wanted = with_rotation(wanted, rotation, format_name != AUTO)
    return _select(patcher.model.get_submodule(DIFFUSION_MODEL), wanted, lines)


def select_in_clip(clip, format_name: str, lines: str, choice: SchemeChoice, rotation: str = AUTO) -> Selection:
    """As `select_in_model`, for all encoders of a CLIP."""
    wanted = format_for(format_name, T5, choice, clip.patcher.load_device)
    wanted = with_rotation(wanted, rotation, format_name != AUTO)
    return _select(clip.cond_stage_model, wanted, lines)


def _select(root: torch.nn.Module, format_name: str, lines: str) -> Selection:
    layers = {name: shape_of(layer) for name, layer in linear_layers(root).items()}
    return select(layers, [name for name, _ in root.named_parameters()], format_name, parse_overrides(lines))
