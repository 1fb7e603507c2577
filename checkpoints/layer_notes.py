"""What there is to say of quantized layers that are sound."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ..formats import FORMATS
from .markers import Marker
from .stored import StoredLayer

CALIBRATED = (
    "static input scales: activations are divided by them, or by their own maximum where one is exactly 1, which files "
    "have for none"
)
SMOOTHED = "smoothed layers (SmoothQuant): activations are multiplied by a factor per channel before they are quantized"
EXPANDED = "layers with codes of 6 bits, or with float32 scales of 4-bit codes, are read as int8 with the same values"
FOLDED = "unquantized weights are smoothed as well: the factor is folded back into them"


def notes(layers: Sequence[StoredLayer], folded: Mapping[str, object], markers: Mapping[str, Marker]) -> list[str]:
    """folded: by key of an unquantized weight; markers: by layer."""
    ignored = Counter(text for layer in layers for text in layer.notes)
    found = [f"{count} {text}" for text, count in ignored.items()]
    static = sum("input_scale" in layer.keys for layer in layers)
    smoothed = sum(FORMATS[layer.encoding.format].smooth for layer in layers)
    expanded = sum(layer.encoding.rescaled and "s_channel" in layer.keys for layer in layers)
    counted = {CALIBRATED: static, SMOOTHED: smoothed, EXPANDED: expanded, FOLDED: len(folded)}
    found += [f"{count} {text}" for text, count in counted.items() if count]
    if any(marker.full_precision for marker in markers.values()):
        found.append("the markers ask for full-precision matmul: pick a dequant scheme for that")
    return found
