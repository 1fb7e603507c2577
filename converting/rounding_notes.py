"""What there is to say of how layers are rounded."""

from collections import Counter
from collections.abc import Mapping

from ..formats import family
from ..rounding import AUTO, METHODS, Method
from ..rounding.gains import gains
from ..rounding.methods import TOKENS
from ..rounding.record import WORDS
from .layer_rounding import LayerRounding
from .options import Options


def notes(
    formats: Mapping[str, str], methods: Mapping[str, Method], options: Options, rounding: LayerRounding
) -> list[str]:
    """formats: layer -> format; methods: layer -> method, of those that are rounded."""
    if options.rounding == AUTO and not any(rounding.recorded.of(layer) == TOKENS for layer in methods):
        return gains(Counter(family(formats[layer]) for layer in methods), options.calibration is not None)
    if options.rounding == AUTO:
        return []
    others = Counter(method.name for method in methods.values() if method is not METHODS[options.rounding])
    return [
        f"{count} layer{'s' * (count > 1)} rounded {WORDS[name]}: {options.rounding} is not for their format, or their "
        "inputs were not recorded"
        for name, count in others.items()
    ]
