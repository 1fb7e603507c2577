"""The methods of rounding that a user picks, as rows: which way each step of them goes."""

from dataclasses import dataclass

from ..formats import FORMATS, SMOOTHED
from ..formats.format import Format

AUTO = "auto"
# what a step needs to have been recorded of a layer's input
NOTHING, MEANS, TOKENS = "nothing", "mean squares", "tokens"
# in order: what has one has those before it
RECORDED = (NOTHING, MEANS, TOKENS)


@dataclass(frozen=True)
class Method:
    """`scales`: a key of scales.SCALES. `rounding`: "nearest" or "gptq". `factor`: a key of
    calibration.strength.FORMULAS, for the factor that the columns are divided by first; "" for that of the smoothing,
    if there is one. `needs`: one of RECORDED. `words`: what it is, for a person."""

    name: str
    scales: str
    rounding: str
    needs: str
    words: str
    factor: str = ""

    def fits(self, row: Format, recorded: str) -> bool:
        """Whether a layer can be rounded so: what it needs was recorded, and AWQ's factor is for formats that can have
        one and whose activations are not quantized."""
        has_factor = row.name in SMOOTHED and row.activation == "float"
        return RECORDED.index(recorded) >= RECORDED.index(self.needs) and (has_factor or not self.factor)


METHODS = {
    row.name: row
    for row in (
        Method("nearest", "absmax", "nearest", NOTHING, "each value to the nearest code"),
        Method("mse", "mse", "nearest", NOTHING, "scales with the least error of the weights, where that helps"),
        Method("weighted", "weighted", "nearest", MEANS, "scales with the least error of the outputs, by channel"),
        Method("gptq", "mse", "gptq", TOKENS, "each column makes up for the errors of those before it (GPTQ)"),
        Method("awq", "weighted", "nearest", MEANS, "columns that matter more are made larger first (AWQ)", "awq"),
    )
}
# of a user: "auto" is what `method_for` finds best for each layer
CHOICES = (AUTO, *METHODS)


def method_for(format_name: str, chosen: Method | None, recorded: str) -> Method:
    """The method for a layer of `format_name`: `chosen`, or what is best with what was `recorded` (one of RECORDED)
    where that is None ("auto") or does not fit this layer. A method that would only search scales is the nearest for a
    format that has no other scales to try."""
    row, nearest = FORMATS[format_name], METHODS["nearest"]
    if row.grid is None:
        return nearest
    method = chosen if chosen is not None and chosen.fits(row, recorded) else _best(row, recorded)
    return method if method.rounding == "gptq" or row.grid.factors else nearest


def _best(row: Format, recorded: str) -> Method:
    if recorded == TOKENS:
        return METHODS["gptq"]
    # weighted scales alone were worse than plain ones on the demo's model, and AWQ (13.1 % off for 14.3 by mse) needs a
    # file with factors: neither unasked. Where activations are quantized too, searched scales gained nothing, and take
    # nine times as long
    return METHODS["mse" if row.activation == "float" else "nearest"]
