"""What was done to the weights of a file, in its metadata: written by whatever quantizes, shown by inspect."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace

from ..common import limits
from ..common.printable import printable
from ..common.version import VERSION
from ..formats import FORMATS
from .layer_names import shortened, stands_for
from .methods import NOTHING, TOKENS, Method

# the metadata's entry
KEY = "x2v_quant"
# names of layers that a line has; the rest are counted
NAMED = 3
# method -> how its layers were rounded, behind "rounded"
WORDS = {
    "nearest": "to the nearest",
    "mse": "with searched scales",
    "weighted": "with scales searched by the inputs",
    "gptq": "with GPTQ",
    "awq": "with AWQ",
}


@dataclass(frozen=True)
class Record:
    """`version`: of the pack. `methods`: name in METHODS -> layers. `rotation`: channels that are rotated together ->
    layers; `smoothed`: layers with a factor per channel. `calls`: of the model in the calibration, `tokens`: the most
    that it has of a layer's inputs; 0 where nothing was done by it. `scales`: dtypes of the scales, as torch names
    them. `layers`: method -> its layers' names in the file, without the model's prefix, see layer_names.py; empty in
    files of before. `earlier`: records of layers that have had their codes before, none of which has others."""

    version: str = VERSION
    methods: Mapping[str, int] = field(default_factory=dict)
    rotation: Mapping[str, int] = field(default_factory=dict)
    smoothed: int = 0
    calls: int = 0
    tokens: int = 0
    scales: tuple[str, ...] = ()
    layers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    earlier: tuple["Record", ...] = ()

    @staticmethod
    def of(
        layers: Mapping[str, tuple[str, Method]],
        smoothed: Collection[str] = (),
        calls: int = 0,
        tokens: int = 0,
        scales: Iterable[str] = (),
    ) -> "Record":
        """layers: name -> (format, method) of each that was rounded; smoothed: those of them that a calibration has
        given a factor, in addition to those whose format has one. The others: as in the class."""
        by_means = any(method.needs != NOTHING for _, method in layers.values()) or bool(smoothed)
        by_tokens = any(method.needs == TOKENS for _, method in layers.values())
        with_factor = {name for name, (format_name, _) in layers.items() if FORMATS[format_name].smooth}
        names: dict[str, list[str]] = {}
        for name, (_, method) in layers.items():
            names.setdefault(method.name, []).append(name)
        return Record(
            VERSION,
            {method: len(of_one) for method, of_one in names.items()},
            _rotations(format_name for format_name, _ in layers.values()),
            len(with_factor.union(smoothed)),
            calls if by_means else 0,
            tokens if by_tokens else 0,
            tuple(sorted(set(scales))),
            {method: tuple(shortened(of_one)) for method, of_one in names.items()},
        )

    def followed_by(self, later: "Record", kept: Mapping[str, tuple[str, str]], all_kept: bool) -> "Record":
        """The record of a file that was made of one with this record. kept: layers that have the same codes, their name
        here -> (name, format) in the new file. all_kept: no layer that this is of has others. What is known of no layer
        by its name is left out, unless all are the same."""
        found = [part for each in (self, *self.earlier) if (part := each._of_kept(kept, all_kept)).methods]
        if later.methods:
            found = [later, *found]
        return replace(found[0], earlier=tuple(found[1:])) if found else later

    def _of_kept(self, kept: Mapping[str, tuple[str, str]], all_kept: bool) -> "Record":
        alone = replace(self, earlier=())
        if not self.layers:
            return alone if all_kept else Record()
        names: dict[str, list[str]] = {}
        formats = []
        for method, short in self.layers.items():
            for name, (new, format_name) in kept.items():
                if any(stands_for(each, name) for each in short):
                    names.setdefault(method, []).append(new)
                    formats.append(format_name)
        return replace(
            alone,
            methods={method: len(of_one) for method, of_one in names.items()},
            rotation=_rotations(formats),
            smoothed=self.smoothed if all_kept else sum(FORMATS[name].smooth for name in formats),
            layers={method: tuple(shortened(of_one)) for method, of_one in names.items()},
        )

    def metadata(self) -> dict[str, str]:
        """The entry for a file; none if no layer was rounded."""
        return {KEY: json.dumps(asdict(self))} if self.methods else {}

    @staticmethod
    def read(metadata: Mapping[str, str]) -> "Record | None":
        """What a file says of itself, None if it says nothing, or nothing that this version understands: whoever made
        the file may have written anything."""
        text = metadata.get(KEY, "")
        if not text or len(text) > limits.RECORD_CHARS:
            return None
        try:
            return Record.said(json.loads(text))
        except (ValueError, RecursionError):
            return None

    @staticmethod
    def said(entry: object) -> "Record | None":
        """Of what `metadata` has as JSON, None as in `read`."""
        first = _alone(entry)
        earlier = entry.get("earlier") if first is not None else None
        others = filter(
            None, map(_alone, earlier[: limits.RECORD_ENTRIES] if isinstance(earlier, list | tuple) else ())
        )
        return first and replace(first, earlier=tuple(others))

    def lines(self) -> list[str]:
        """For a person: "rounded with GPTQ: 300 layers, to the nearest: 4 layers", then what went before; which layers
        these are where it is not the same for all; after that the same of layers that had their codes before."""
        found = self._lines(bool(self.earlier) or len(self.methods) > 1)
        for each in self.earlier:
            found += [f"in an earlier conversion {line}" for line in each._lines(True)]
        return found

    def _lines(self, named: bool) -> list[str]:
        found = [f"rounded {words_of(self.methods)}"]
        if named:
            for method, short in self.layers.items():
                more = f" and {len(short) - NAMED} more" if len(short) > NAMED else ""
                found.append(f"{WORDS.get(method, f'by {method}')}: {', '.join(short[:NAMED])}{more}")
        before = [f"rotated in groups of {size}: {_layers(count)}" for size, count in self.rotation.items()]
        before += [f"smoothed: {_layers(self.smoothed)}"] if self.smoothed else []
        if before:
            found.append(f"before that {', '.join(before)}")
        if self.calls:
            inputs = f", up to {self.tokens} inputs of a layer" if self.tokens else ""
            found.append(f"calibrated with {self.calls} call{'s' * (self.calls != 1)} of the model{inputs}")
        return found


def _alone(said: object) -> Record | None:
    """A record without those of earlier."""
    if not isinstance(said, dict) or not (methods := _counts(said.get("methods"))):
        return None
    counts = {name: _count(said.get(name)) for name in ("smoothed", "calls", "tokens")}
    scales, layers = said.get("scales"), said.get("layers")
    return Record(
        _name(said.get("version")),
        methods,
        _counts(said.get("rotation")),
        scales=_names(scales, limits.RECORD_ENTRIES),
        layers={
            _name(method): _names(short, limits.RECORD_LAYERS, limits.KEY_CHARS)
            for method, short in list(layers.items() if isinstance(layers, dict) else ())[: limits.RECORD_ENTRIES]
        },
        **counts,
    )


def _rotations(formats: Iterable[str]) -> dict[str, int]:
    return dict(Counter(str(FORMATS[name].rotation) for name in formats if FORMATS[name].rotation))


def most_bytes(names: Collection[str]) -> int:
    """The most that `metadata` has for layers of these names: as if each method had some of every block."""
    return 400 + len(WORDS) * len(json.dumps(shortened(names))) + 4 * len(names)


def words_of(methods: Mapping[str, int]) -> str:
    """Method -> layers, as it follows "rounded"; "" for none."""
    order = sorted(methods, key=lambda name: -methods[name])
    return ", ".join(f"{WORDS.get(name, f'by {name}')}: {_layers(methods[name])}" for name in order)


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count != 1)}"


def _name(value: object, most: int = limits.RECORD_NAME_CHARS) -> str:
    return printable(value[:most]) if isinstance(value, str) else ""


def _names(values: object, count: int, most: int = limits.RECORD_NAME_CHARS) -> tuple[str, ...]:
    return tuple(_name(each, most) for each in values[:count]) if isinstance(values, list | tuple) else ()


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else 0


def _counts(value: object) -> dict[str, int]:
    entries = list(value.items())[: limits.RECORD_ENTRIES] if isinstance(value, dict) else []
    return {_name(name): _count(count) for name, count in entries if name and _count(count)}
