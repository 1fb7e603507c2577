"""What a converted file says of its making: what was done now, and what its source says of layers that stay."""

from collections.abc import Collection, Iterable, Iterator, Mapping

from ..calibration.recorded import Recorded
from ..checkpoints import Checkpoint
from ..rounding import Method
from ..rounding.methods import TOKENS
from ..rounding.record import Record
from .dialects import scale_ends
from .outputs import Output
from .units import Unit
from .weights import Weights


def file_record(
    checkpoint: Checkpoint,
    weights: Weights,
    layers: Mapping[str, Output],
    formats: Mapping[str, str],
    methods: Mapping[str, Method],
    smoothed: Collection[str],
    recorded: Recorded,
    scales: Iterable[str],
) -> Record:
    """layers: by name, all that could be quantized; formats: layer -> format, of those that are; methods: of those that
    are rounded; smoothed: those that the calibration gave a factor; scales: their dtypes."""
    calls, tokens = recorded.extent(layer for layer, method in methods.items() if method.needs == TOKENS)
    made = {layer: (formats[layer], method) for layer, method in methods.items()}
    now = Record.of(made, [layer for layer in smoothed if layer in methods], calls, tokens, scales)
    before = Record.read(checkpoint.metadata)
    if before is None:
        return now
    stored = {layer: name for layer, output in layers.items() if (name := weights.name(output)) is not None}
    kept = {
        name.removeprefix(checkpoint.prefix): (layer, formats[layer])
        for layer, name in stored.items()
        if layer in formats and layer not in methods
    }
    return before.followed_by(now, kept, stored.keys().isdisjoint(methods))


def scale_types(
    units: Iterable[Unit], formats: Mapping[str, str], layers: Mapping[str, Output], rounded: Collection[str], dialect
) -> Iterator[str]:
    """The dtypes of what the codes of `rounded` layers are multiplied by."""
    for unit in units:
        if unit.name in rounded:
            ends = scale_ends(formats[unit.name], layers[unit.name].shape, dialect)
            found = (spec for name, spec in unit.specs.items() if name.rpartition(".")[2] in ends)
            yield from (str(spec.dtype).removeprefix("torch.") for spec in found)
