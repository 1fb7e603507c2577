"""A checkpoint as loading will read it, but for what is large: of that only types and shapes are there."""

from dataclasses import dataclass, field

import torch

from . import plain_values, silence
from .affine_norm import AffineNorm
from .checkpoint import Checkpoint
from .errors import CheckpointError, Problem
from .reader import map_file
from .tensor_info import SPIECE
from .weights import Weights


@dataclass
class Outline:
    """`weights`: what `Checkpoint.load` returns, codes and large tensors on the meta device; None if there are
    `problems`. `notes`: what the values alone tell. `unread`: keys of the unquantized tensors whose values were not
    looked at."""

    weights: Weights | None = None
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def read_outline(checkpoint: Checkpoint) -> Outline:
    """Read the scales and the other small tensors of a checkpoint whose headers are sound, by the functions that
    loading reads them with. The codes of a layer are only read where one of its scales is zero, or where loading makes
    others of them."""
    read: dict[str, torch.Tensor] = {}
    for file in checkpoint.files:
        read.update(map_file(file))
    tensors = checkpoint.named(read)
    stored = {layer.weight_key: layer.stored for layer in checkpoint.layers.values()}
    beside = {key for layer in stored.values() for role, key in layer.keys.items() if role != "codes"}
    beside |= {key for one in checkpoint.folded.values() for key in one.keys} - checkpoint.folded.keys()
    outlined = {
        key: tensor
        if key in beside or key == SPIECE or (key not in stored and plain_values.is_small(tensor))
        else tensor.to("meta")
        for key, tensor in tensors.items()
    }
    for key, one in checkpoint.folded.items():
        if not isinstance(one, AffineNorm) and one.has_zeros(outlined):
            outlined[key] = tensors[key]
    outline = Outline(unread=[key for key in checkpoint.kept if outlined[key].is_meta])
    try:
        checkpoint.check_unscaled(tensors)
        for layer in stored.values():
            if layer.encoding.rescaled or silence.has_zeros(checkpoint.read_layer(layer, outlined)):
                checkpoint.read_layer(layer, tensors)
        outline.weights = checkpoint.weights_of(outlined)
        outline.notes = [note for note in outline.weights.notes if note not in checkpoint.aloud]
    except CheckpointError as error:
        outline.problems.append(error.problem)
    return outline
