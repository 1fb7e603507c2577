"""The targets of LoRAs in a model: its tensors and slices of them, found by any name that files have for them."""

import difflib
import re
from collections.abc import Iterator, Mapping

from ..families.wan import FROM_DIFFUSERS
from .aliases import TensorSlice, aliases
from .key_formats import flat, without_wrappers

WEIGHT, BIAS = ".weight", ".bias"
Target = TensorSlice

# diffusers' names of Wan's layers, for names with "_" in place of dots
_DIFFUSERS = tuple(
    (re.compile(rule.pattern.replace(r"\.", "_").replace("(?=_)", "(?=_|$)")), rule.targets[0])
    for rule in FROM_DIFFUSERS
)


class LoRATargets:
    """All targets in one model. shapes: tensor name in the model -> shape, None if not known. root: prefix of these
    names in core's patches. known: core's own table, LoRA name -> target with `root`."""

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
        # fused layer -> its row slices for the separate layers of other implementations
        self._shares: dict[str, list[Target]] = {}
        for name, target in self._others(shapes):
            self._layers.setdefault(name, target)

    def _others(self, shapes: Mapping[str, tuple[int, ...] | None]) -> Iterator[tuple[str, Target]]:
        """Yields (flat name, target) from the tables of the family and from core's."""
        for alias, original in aliases(shapes):
            if alias.endswith(WEIGHT):
                target = _rooted(original, self._root)
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
        """The target that a file calls `layer`, None if there is none."""
        if layer in self._known:
            return self._known[layer]
        for name in without_wrappers(layer):
            for candidate in (name, _wans(name)):
                if candidate in self._layers:
                    return self._layers[candidate]
            share = self._share(name)
            if share is not None:
                return share
        return None

    def _share(self, name: str) -> Target | None:
        """The target of one of OMI's names, which number the slices of a fused layer: img_attn.qkv.0."""
        joined, _, number = name.rpartition("_")
        shares = self._shares.get(self._layers.get(joined), []) if number.isdecimal() else []
        shares = sorted(shares, key=lambda target: rows_of(target)[1])
        return shares[int(number)] if number.isdecimal() and int(number) < len(shares) else None

    def shape(self, target: Target) -> tuple[int, ...] | None:
        """The shape of a tensor or slice; None if it is not known."""
        shape = self._shapes.get(name_of(target))
        if shape is None or rows_of(target) is None:
            return shape
        _, _, length = rows_of(target)
        return (length, *shape[1:])

    def nearest(self, layer: str) -> str:
        """The name of the model's layer, without `root`, that is most similar to `layer`."""
        name = _wans(without_wrappers(layer)[-1])
        named = [own for own in self._own if not own.endswith("_bias")]
        found = difflib.get_close_matches(name, named, n=1, cutoff=0.0)
        return self._own[found[0]].removeprefix(self._root).removesuffix(WEIGHT)


def name_of(target: Target) -> str:
    """The name of the tensor that a target is, or is a slice of."""
    return target if isinstance(target, str) else target[0]


def rows_of(target: Target) -> tuple[int, int, int] | None:
    """(dimension, start, length) of a slice, None for a whole tensor."""
    return None if isinstance(target, str) else target[1]


def bias_of(target: Target) -> Target:
    """The target in the layer's bias for one in its weight: the same rows."""
    bias = f"{name_of(target).removesuffix(WEIGHT)}{BIAS}"
    return bias if isinstance(target, str) else (bias, *target[1:])


def _rooted(target: Target, root: str) -> Target:
    return root + target if isinstance(target, str) else (root + target[0], *target[1:])


def _wans(name: str) -> str:
    """Flat name of a Wan layer in diffusers -> Wan's own; other names stay."""
    for pattern, target in _DIFFUSERS:
        match = pattern.match(name)
        if match:
            return flat(match.expand(target) + name[match.end() :])
    return name
