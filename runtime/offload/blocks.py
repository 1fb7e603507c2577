"""The transformer blocks of a diffusion model, and the phases of a block (attention, feed-forward)."""

from dataclasses import dataclass

import torch

from ...families import FAMILIES

PHASES = tuple(family.phases for family in FAMILIES if family.phases)
# a ModuleList of at least this many modules of one class counts as the model's blocks
FEWEST = 2


@dataclass(frozen=True)
class Block:
    """A block or a phase of one. `name`: its path in the model, like "blocks.3" or "blocks.3.ffn"."""

    name: str
    module: torch.nn.Module


def blocks_of(model: torch.nn.Module) -> list[Block]:
    """The blocks in the order in which the model declares them, which is the order they run in. Empty if the model has
    no ModuleList of modules of one class. Lists inside a block are not listed themselves."""
    found: list[Block] = []
    for name, module in model.named_modules():
        if not isinstance(module, torch.nn.ModuleList) or len(module) < FEWEST:
            continue
        if len({type(child) for child in module}) > 1 or any(name.startswith(f"{block.name}.") for block in found):
            continue
        found += [Block(f"{name}.{index}", child) for index, child in enumerate(module) if _has_weights(child)]
    return found


def phases_of(block: Block) -> list[Block]:
    """The phases of a block in running order; [block] if its children are those of no family."""
    children = dict(block.module.named_children())
    known = next((names for names in PHASES if all(name in children for name in names)), ())
    return [Block(f"{block.name}.{name}", children[name]) for name in known] or [block]


def _has_weights(module: torch.nn.Module) -> bool:
    return next(module.parameters(), None) is not None
