"""What there is to say of how layers are rounded."""

from collections import Counter
from collections.abc import Mapping

from ..formats import family
from ..rounding import AUTO, METHODS, Method
from ..rounding.gains import gains
from ..rounding.methods import TOKENS
from ..rounding.record import WORDS
from .layer_rounding import WITHOUT_FACTOR, LayerRounding
from .options import Options


def notes(
    formats: Mapping[str, str], methods: Mapping[str, Method], options: Options, rounding: LayerRounding
) -> list[str]:
    """formats: layer -> format; methods: layer -> method, of those that are rounded."""
    if options.rounding == AUTO and not any(rounding.recorded.of(layer) == TOKENS for layer in methods):
        return gains(Counter(family(formats[layer]) for layer in methods), options.calibration is not None)
    if options.rounding == AUTO:
        return []
    chosen = METHODS[options.rounding]
    others = Counter(method.name for method in methods.values() if method is not chosen)
    found = []
    for name, count in others.items():
        reason = f"{chosen.name} is not for their format, or their inputs were not recorded"
        if chosen.factor and name == WITHOUT_FACTOR:
            reason = f"the factors of {chosen.name} do not make them more exact"
        found.append(f"{_layers(count)} rounded {WORDS[name]}: {reason}")
    same = len(formats) - len(methods)
    if same:
        found.append(
            f"{_layers(same)} already quantized as asked for, and not rounded by {chosen.name}: convert the "
            "unquantized model to have them rounded so"
        )
    return found


def _layers(count: int) -> str:
    return f"{count} layer{'s' * (count != 1)}"
