"""Where a LoRA can go in a model, by any of the names that files have for it."""

import difflib
import re
from collections.abc import Iterator, Mapping

from ..families.wan import FROM_DIFFUSERS
from .aliases import Part, aliases
from .key_formats import flat, without_wrappers

WEIGHT, BIAS = ".weight", ".bias"
Target = Part

# diffusers' names of Wan's layers, for names with "_" in place of dots
_DIFFUSERS = tuple(
    (re.compile(rule.pattern.replace(r"\.", "_").replace("(?=_)", "(?=_|$)")), rule.targets[0])
    for rule in FROM_DIFFUSERS
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
        self._known = {key: target for key, target in (known or {}).items() if target in self}
        self._root = root
        self._own = {flat(name.removesuffix(WEIGHT)): root + name for name in shapes}
        self._layers: dict[str, Target] = dict(self._own)
        # joined layer -> the rows of those that other models have in its place, from the top
        self._shares: dict[str, list[Target]] = {}
        for name, target in self._others(shapes):
            self._layers.setdefault(name, target)

    def _others(self, shapes: Mapping[str, tuple[int, ...] | None]) -> Iterator[tuple[str, Target]]:
        """(flat name, target) by the tables of the family and by core's."""
        for alias, part in aliases(shapes):
            if alias.endswith(WEIGHT):
                target = _rooted(part, self._root)
                yield flat(alias.removesuffix(WEIGHT)), target
                if rows_of(target) is not None:
                    shares = self._shares.setdefault(name_of(target), [])
                    shares += [target] if target not in shares else []
        for key, target in self._known.items():
            names = without_wrappers(key) if "." in key else [flat(key)]
            yield from ((name, target) for name in names)

    def __contains__(self, name: Target) -> bool:
        return name_of(name) in self._shapes

    def find(self, layer: str) -> Target | None:
        """The tensor that a file calls `layer`, None if there is none."""
        if layer in self._known:
            return self._known[layer]
        for name in without_wrappers(layer):
            for spelling in (name, _wans(name)):
                if spelling in self._layers:
                    return self._layers[spelling]
            share = self._share(name)
            if share is not None:
                return share
        return None

    def _share(self, name: str) -> Target | None:
        """Of OMI's names, which count the layers in a joined one: img_attn.qkv.0."""
        joined, _, number = name.rpartition("_")
        shares = self._shares.get(self._layers.get(joined), []) if number.isdecimal() else []
        shares = sorted(shares, key=lambda target: rows_of(target)[1])
        return shares[int(number)] if number.isdecimal() and int(number) < len(shares) else None

    def shape(self, target: Target) -> tuple[int, ...] | None:
        """None where it is not known."""
        shape = self._shapes.get(name_of(target))
        if shape is None or rows_of(target) is None:
            return shape
        _, _, length = rows_of(target)
        return (length, *shape[1:])

    def nearest(self, layer: str) -> str:
        """The layer of the model whose name is most like `layer`, without `root`."""
        name = _wans(without_wrappers(layer)[-1])
        named = [own for own in self._own if not own.endswith("_bias")]
        found = difflib.get_close_matches(name, named, n=1, cutoff=0.0)
        return self._own[found[0]].removeprefix(self._root).removesuffix(WEIGHT)


def name_of(target: Target) -> str:
    """Of the whole tensor."""
    return target if isinstance(target, str) else target[0]


def rows_of(target: Target) -> tuple[int, int, int] | None:
    """(dimension, start, length), None for the whole tensor."""
    return None if isinstance(target, str) else target[1]


def bias_of(target: Target) -> Target:
    """The same rows of the layer's bias."""
    bias = f"{name_of(target).removesuffix(WEIGHT)}{BIAS}"
    return bias if isinstance(target, str) else (bias, *target[1:])


def _rooted(part: Part, root: str) -> Target:
    return root + part if isinstance(part, str) else (root + part[0], *part[1:])


def _wans(name: str) -> str:
    """diffusers' flat name of a layer of Wan -> Wan's; any other stays."""
    for pattern, target in _DIFFUSERS:
        match = pattern.match(name)
        if match:
            return flat(match.expand(target) + name[match.end() :])
    return name
