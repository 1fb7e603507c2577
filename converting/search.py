"""Which format each layer gets, so that the model reaches an output error or a size: from what measuring found."""

import bisect
import math
import re
from collections.abc import Mapping, Sequence

from ..common.markdown import table
from ..common.sizes import amount
from ..layer_rules.overrides import KEEP
from .errors import ConvertError
from .measuring import Cost, Measured

# formats of a layer that differ less than this in size are equally cheap: one scale less is no reason for more error
EQUAL_SIZE = 1.01
# the reason of a layer that stays as it is
KEPT = "is kept by the search"
HEADS = ("searched layers", "format", "layers", "size", "lowest SNR")


def choose_snr(measured: Mapping[str, Mapping[str, Cost]], target: float) -> dict[str, str]:
    """Layer -> the cheapest of its formats with an SNR of `target` dB or more, KEEP if it has none. Of those that are
    within EQUAL_SIZE of the cheapest it is the one with the highest SNR.

    A higher target never lowers the SNR or the size of any layer's choice.
    """
    return {layer: _cheapest(costs, target) for layer, costs in measured.items()}


def choose_size(measured: Mapping[str, Mapping[str, Cost]], kept_bytes: int, target_bytes: int) -> dict[str, str]:
    """What `choose_snr` chooses for the highest target with which the file has at most `target_bytes`.

    kept_bytes: of all that is not in `measured`. Raises ConvertError if no target is low enough.
    """

    def size(target: float) -> int:
        return kept_bytes + chosen_bytes(measured, choose_snr(measured, target))

    targets = sorted({cost.snr for costs in measured.values() for cost in costs.values()} | {-math.inf})
    fitting = bisect.bisect_right(targets, target_bytes, key=size)
    if not fitting:
        smallest = size(-math.inf)
        raise ConvertError(
            f"The model does not fit into {amount(target_bytes)}: with these candidates it takes {amount(smallest)}. "
            f"Ask for at least {math.ceil(smallest / 1e6) / 1e3} GB, or allow smaller formats."
        )
    return choose_snr(measured, targets[fitting - 1])


def chosen_bytes(measured: Mapping[str, Mapping[str, Cost]], chosen: Mapping[str, str]) -> int:
    return sum(measured[layer][choice].nbytes for layer, choice in chosen.items())


def search(
    measured: Measured,
    kept_bytes: int,
    target_snr: float | None,
    target_bytes: int | None,
    together: Sequence[Sequence[str]] = (),
) -> dict[str, str]:
    """Layer -> format or KEEP for the one target that is not None. together: groups of layers that get one format, in
    which each reaches the target. Raises ConvertError for a target that no layer reaches quantized, and for one that
    the model meets as it is."""
    first = {layer: group[0] for group in together for layer in group}
    found = _search(_joined(measured, first), kept_bytes, target_snr, target_bytes)
    return {layer: found[first.get(layer, layer)] for layer in measured}


def _joined(measured: Measured, first: Mapping[str, str]) -> Measured:
    """`measured` with a group of layers as one, under the name of its first: all of their bytes, the lowest SNR."""
    groups: dict[str, list[dict[str, Cost]]] = {}
    for layer, costs in measured.items():
        groups.setdefault(first.get(layer, layer), []).append(costs)
    joined: Measured = {}
    for layer, costs in groups.items():
        shared = [name for name in costs[0] if all(name in other for other in costs)]
        joined[layer] = {
            name: Cost(min(other[name].snr for other in costs), sum(other[name].nbytes for other in costs))
            for name in shared
        }
    return joined


def _search(measured: Measured, kept_bytes: int, target_snr: float | None, target_bytes: int | None) -> dict[str, str]:
    if target_snr is None:
        chosen = choose_size(measured, kept_bytes, target_bytes)
        if set(chosen.values()) == {KEEP}:
            raise ConvertError(
                f"The model fits into {amount(target_bytes)} without being quantized. Ask for a smaller size."
            )
        return chosen
    chosen = choose_snr(measured, target_snr)
    if set(chosen.values()) == {KEEP}:
        found = ((cost.snr, layer, name) for layer, costs in measured.items() for name, cost in costs.items())
        best, layer, name = max(entry for entry in found if entry[2] != KEEP)
        raise ConvertError(
            f"No format has an output SNR of {target_snr:g} dB in any layer: the best is {name} with {best:.1f} dB in "
            f"{layer}. Ask for less, or allow other candidates."
        )
    return chosen


def described(measured: Measured, chosen: Mapping[str, str]) -> dict[str, dict]:
    """{layer: {"format", "snr_db", "bytes"}} for a report; snr_db is None where there is no error."""
    costs = {layer: measured[layer][choice] for layer, choice in chosen.items()}
    return {
        layer: {
            "format": chosen[layer],
            "snr_db": round(cost.snr, 2) if math.isfinite(cost.snr) else None,
            "bytes": cost.nbytes,
        }
        for layer, cost in costs.items()
    }


def lines(chosen: Mapping[str, Mapping]) -> list[str]:
    """What `described` gave, as a table with a row per group of layers, block numbers as `*`, and format."""
    groups: dict[tuple[str, str], list[Mapping]] = {}
    for layer, entry in chosen.items():
        groups.setdefault((re.sub(r"\.\d+\.", ".*.", layer, count=1), entry["format"]), []).append(entry)
    rows = []
    for (group, name), entries in groups.items():
        size = amount(sum(entry["bytes"] for entry in entries))
        ratios = [entry["snr_db"] for entry in entries if entry["snr_db"] is not None]
        lowest = f"{min(ratios):.1f} dB" if ratios else "-"
        rows.append((group, name, str(len(entries)), size, lowest))
    return table(HEADS, rows, right=range(2, 5)).splitlines()


def _cheapest(costs: Mapping[str, Cost], target: float) -> str:
    fitting = {name: cost for name, cost in costs.items() if cost.snr >= target}
    if not fitting:
        return KEEP
    limit = EQUAL_SIZE * min(cost.nbytes for cost in fitting.values())
    near = [name for name, cost in fitting.items() if cost.nbytes <= limit]
    return max(near, key=lambda name: (fitting[name].snr, -fitting[name].nbytes))
