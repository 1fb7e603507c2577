"""Where a LoRA can go in a model, by any of the names that files have for it."""

import difflib
import re
from collections.abc import Mapping

from ..checkpoints.names import RULES
from .spellings import flat, without_prefixes

WEIGHT = ".weight"
# core's way to name a part of a tensor: (name, (dimension, start, length), ...)
Target = str | tuple

# diffusers' names of Wan's layers, for names with "_" in place of dots
_DIFFUSERS = tuple(
    (re.compile(rule.pattern.replace(r"\.", "_").replace("(?=_)", "(?=_|$)")), rule.targets[0])
    for rule in RULES["wan-diffusers"]
)


class Places:
    """`shapes`: of a model's tensors, by their names in it; None where it is not known. `root`: what stands before
    those names in the patches that come out. `known`: what core itself knows a LoRA may call them, with `root`."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...] | None],
        root: str = "",
        known: Mapping[str, Target] | None = None,
    ):
        self._shapes = {root + name: shape for name, shape in shapes.items()}
        self._known = known or {}
        self._layers = {flat(name.removesuffix(WEIGHT)): root + name for name in shapes}
        self._named = [name for name in self._layers if not name.endswith("_bias")]
        self._root = root

    def __contains__(self, name: Target) -> bool:
        return (name if isinstance(name, str) else name[0]) in self._shapes

    def find(self, layer: str) -> Target | None:
        """The tensor that a file calls `layer`, None if there is none."""
        if layer in self._known and self._known[layer] in self:
            return self._known[layer]
        for name in without_prefixes(layer):
            for spelling in (name, _wans(name)):
                if spelling in self._layers:
                    return self._layers[spelling]
        return None

    def shape(self, target: Target) -> tuple[int, ...] | None:
        """None for a part of a tensor, and where the shape is not known."""
        return self._shapes.get(target) if isinstance(target, str) else None

    def nearest(self, layer: str) -> str:
        """The layer of the model whose name is most like `layer`, without `root`."""
        name = _wans(without_prefixes(layer)[-1])
        found = difflib.get_close_matches(name, self._named, n=1, cutoff=0.0)
        return self._layers[found[0]].removeprefix(self._root).removesuffix(WEIGHT)


def _wans(name: str) -> str:
    """diffusers' flat name of a layer of Wan -> Wan's; any other stays."""
    for pattern, target in _DIFFUSERS:
        match = pattern.match(name)
        if match:
            return flat(match.expand(target) + name[match.end() :])
    return name
