"""What is promised of the accuracy, and whether a run kept it."""

from collections.abc import Sequence

from .contestants import BASELINE, OURS
from .scores import ASPECTS

FORMATS = ("int8-channel", "fp8-channel")
# percentage points of colour, shape or direction: that the 16-bit model may be wrong in, and that quantizing may add
WRONG, LOST = 10.0, 2.0
FEWEST_CASES = 100


def promises(scored: Sequence[dict], cases: int) -> list[dict]:
    """[{"name", "limit", "got", "met"}] in percentage points, each the worst of colour, shape and direction: where the
    baseline is wrong, and for each of FORMATS what its worst row lost against that. Nothing is said of fewer than
    FEWEST_CASES cases."""
    if cases < FEWEST_CASES:
        return []
    true = next(row["accuracy"] for row in scored if row["name"] == BASELINE.name)
    found = [_promise(f"{BASELINE.name}: points wrong", WRONG, max(1 - true[aspect] for aspect in ASPECTS))]
    for format_name in FORMATS:
        rows = [row for row in scored if row["loader"] == OURS and row["format"] == format_name and not row["error"]]
        if rows:
            lost = max(true[aspect] - row["accuracy"][aspect] for row in rows for aspect in ASPECTS)
            found.append(_promise(f"{format_name}: points lost against {BASELINE.name}", LOST, lost))
    return found


def _promise(name: str, limit: float, share: float) -> dict:
    got = round(100 * share, 2)
    return {"name": name, "limit": limit, "got": got, "met": got <= limit}
