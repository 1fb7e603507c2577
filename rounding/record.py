"""What was done to the weights of a file, in its metadata: written by whatever quantizes, shown by inspect."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from ..common import limits
from ..common.printable import printable
from ..common.version import VERSION
from ..formats import FORMATS
from .methods import Method

# the metadata's entry
KEY = "x2v_quant"
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
    that it has of a layer's inputs; 0 without a calibration. `scales`: dtypes of the scales, as torch names them."""

    version: str = VERSION
    methods: Mapping[str, int] = field(default_factory=dict)
    rotation: Mapping[str, int] = field(default_factory=dict)
    smoothed: int = 0
    calls: int = 0
    tokens: int = 0
    scales: tuple[str, ...] = ()

    @staticmethod
    def of(
        layers: Iterable[tuple[str, Method]],
        smoothed: int = 0,
        calls: int = 0,
        tokens: int = 0,
        scales: Iterable[str] = (),
    ) -> "Record":
        """layers: (format, method) of each that was rounded. The others: as in the class."""
        layers = list(layers)
        methods = Counter(method.name for _, method in layers)
        rotation = Counter(str(FORMATS[name].rotation) for name, _ in layers if FORMATS[name].rotation)
        return Record(VERSION, dict(methods), dict(rotation), smoothed, calls, tokens, tuple(sorted(set(scales))))

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
            said = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(said, dict):
            return None
        counts = {name: _count(said.get(name)) for name in ("smoothed", "calls", "tokens")}
        scales = said.get("scales")
        names = [_name(each) for each in scales[: limits.RECORD_ENTRIES]] if isinstance(scales, list) else []
        methods = _counts(said.get("methods"))
        if not methods:
            return None
        return Record(_name(said.get("version")), methods, _counts(said.get("rotation")), scales=tuple(names), **counts)

    def lines(self) -> list[str]:
        """For a person: "rounded with GPTQ: 300 layers, to the nearest: 4 layers", then what went before."""
        found = [f"rounded {words_of(self.methods)}"]
        before = [f"rotated in groups of {size}: {_layers(count)}" for size, count in self.rotation.items()]
        before += [f"smoothed: {_layers(self.smoothed)}"] if self.smoothed else []
        if before:
            found.append(f"before that {', '.join(before)}")
        if self.calls:
            inputs = f", up to {self.tokens} inputs of a layer" if self.tokens else ""
            found.append(f"calibrated with {self.calls} call{'s' * (self.calls != 1)} of the model{inputs}")
        return found


def words_of(methods: Mapping[str, int]) -> str:
    """Method -> layers, as it follows "rounded"; "" for none."""
    order = sorted(methods, key=lambda name: -methods[name])
    return ", ".join(f"{WORDS.get(name, f'by {name}')}: {_layers(methods[name])}" for name in order)


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count != 1)}"


def _name(value: object) -> str:
    return printable(value[: limits.RECORD_NAME_CHARS]) if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else 0


def _counts(value: object) -> dict[str, int]:
    entries = list(value.items())[: limits.RECORD_ENTRIES] if isinstance(value, dict) else []
    return {_name(name): _count(count) for name, count in entries if name and _count(count)}
