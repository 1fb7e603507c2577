"""What is promised of the accuracy, and whether a run kept it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .contestants import BASELINE, OURS
from .scores import ASPECTS, summary
from .wide_layer import OUTLIERS

FEWEST_CASES = 100
MOST, LEAST = "at most", "at least"


@dataclass(frozen=True)
class Figure:
    """`words`: what it is, and in which unit; `of`: (a row, the baseline's row) -> it; `bound`: MOST or LEAST; `wide`:
    whether it is of a single wide layer, whose rows need no videos."""

    words: str
    of: Callable[[dict, dict], float]
    bound: str = MOST
    wide: bool = False


WRONG = Figure("points wrong", lambda row, _: 100 * max(1 - row["accuracy"][aspect] for aspect in ASPECTS))
LOST = Figure(
    f"points lost against {BASELINE.name}",
    lambda row, true: 100 * max(true["accuracy"][aspect] - row["accuracy"][aspect] for aspect in ASPECTS),
)
LATENTS = Figure("latents off, %", lambda row, _: 100 * row["latent_error"])
LAYERS = Figure("median layer, dB", lambda row, _: summary(row["layers"])["output_median"], LEAST)
OUTLIER = Figure(f"{OUTLIERS}, dB", lambda row, _: row["output_snr"][OUTLIERS], LEAST, wide=True)

# a row, or what its name has before the kernel: of those the worst counts; figure; limit
PROMISES = (
    (BASELINE.name, WRONG, 10.0),
    ("int8-channel", LOST, 2.0),
    ("fp8-channel", LOST, 2.0),
    ("w4a8, GPTQ (reference)", LOST, 2.0),
    ("int8-convrot (reference)", LATENTS, 2.3),
    ("int8-convrot-smooth (reference)", LATENTS, 1.9),
    ("int8-channel, GPTQ (dequant)", LATENTS, 0.7),
    ("fp8-channel, GPTQ (reference)", LATENTS, 6.8),
    ("w4a8, GPTQ (reference)", LATENTS, 6.5),
    ("w4a8, GPTQ (reference)", LAYERS, 35.0),
    ("int4-g128, GPTQ (dequant)", LATENTS, 10.0),
    ("int4-g128, GPTQ (dequant)", LAYERS, 31.0),
    ("nvfp4, GPTQ (dequant)", LATENTS, 9.0),
    ("nvfp4, GPTQ (reference)", LATENTS, 24.0),
    ("int8-convrot (reference)", OUTLIER, 37.0),
    ("int8-convrot-smooth (reference)", OUTLIER, 45.0),
    ("int4-g128-convrot, GPTQ (dequant)", OUTLIER, 33.0),
    ("w4a8, GPTQ (reference)", OUTLIER, 34.0),
)


def promises(scored: Sequence[dict], wide: Sequence[dict], cases: int) -> list[dict]:
    """[{"name", "bound", "limit", "got", "met"}] of PROMISES for which there are rows: of `scored`, unless there were
    fewer than FEWEST_CASES cases, and of `wide`, as wide.measure gives them."""
    true = next((row for row in scored if row["name"] == BASELINE.name), None)
    found = []
    for name, figure, limit in PROMISES:
        rows = wide if figure.wide else [row for row in scored if not row["error"] and cases >= FEWEST_CASES]
        mine = [row for row in rows if _is_of(row, name)]
        if mine:
            values = [figure.of(row, true) for row in mine]
            got = round(max(values) if figure.bound == MOST else min(values), 2)
            met = got <= limit if figure.bound == MOST else got >= limit
            found.append(
                {"name": f"{name}: {figure.words}", "bound": figure.bound, "limit": limit, "got": got, "met": met}
            )
    return found


def _is_of(row: dict, name: str) -> bool:
    ours = row["loader"] == OURS or row["name"] == BASELINE.name
    return ours and (row["name"] == name or row["name"].startswith(f"{name} ("))
