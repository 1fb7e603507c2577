"""The blocks of a diffusion model, which run one after the other, and the phases of a block."""

from dataclasses import dataclass

import torch

# children of a block that run one after the other, each called as a module; what else a block has is small
PHASES = (
    ("self_attn", "cross_attn", "ffn"),
    ("attn1", "attn2", "ff"),
    ("attention", "feed_forward"),
    ("attn", "img_mlp", "txt_mlp"),
    ("adaln_proj", "attn", "mlp"),
)
# the least number of like modules in a list that are taken for a model's blocks
FEWEST = 2


@dataclass(frozen=True)
class Block:
    """`name`: in the model, like "blocks.3" or "blocks.3.ffn"."""

    name: str
    module: torch.nn.Module


def blocks_of(model: torch.nn.Module) -> list[Block]:
    """In the order in which the model declares them, which is the order they run in; empty if it has no lists of like
    modules. Lists inside of a block are part of it."""
    found: list[Block] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) < FEWEST:
            continue
        if len({type(child) for child in module}) > 1 or any(name.startswith(f"{block.name}.") for block in found):
            continue
        found += [Block(f"{name}.{index}", child) for index, child in enumerate(module) if _has_weights(child)]
    return found


def phases_of(block: Block) -> list[Block]:
    """The parts of a block in their order; the block itself if it is of no known kind."""
    children = dict(block.module.named_children())
    known = next((names for names in PHASES if all(name in children for name in names)), ())
    return [Block(f"{block.name}.{name}", children[name]) for name in known] or [block]


def _has_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(), None) is not None
