"""A step report's verdict: steps, seconds and the share in low precision, in one line."""

from collections.abc import Sequence

from ...schemes.verdict import short
from .run_report import RunReport


def verdict(runs: Sequence[RunReport]) -> str:
    """Like "4 steps, 12.3 s each, 98% in int8." of all runs together; "2 of 4 steps" while they run."""
    steps = [step for run in runs for step in run.steps()]
    total = sum(len(run.sigmas) - 1 for run in runs)
    done = str(total) if len(steps) == total else f"{len(steps)} of {total}"
    words = [f"{done} step{'s' * (total > 1)}"]
    if steps:
        words.append(f"{sum(step['seconds'] for step in steps) / len(steps):.3g} s each")
    return f"{', '.join([*words, *_in_low_precision(runs, steps)])}."


def _in_low_precision(runs: Sequence[RunReport], steps: Sequence[dict]) -> list[str]:
    """The mean share of the multiplications; nothing where they were not counted."""
    groups = [group for run in runs for group in run.groups]
    quantizing = " and ".join(dict.fromkeys(short(g["format"]) for g in groups if g["activation"] != "float"))
    shares = [step["quantized"] for step in steps if step["quantized"] is not None]
    if quantizing and shares:
        return [f"{sum(shares) / len(shares):.0%} in {quantizing}"]
    if groups and not quantizing:
        return ["all in 16 or 32 bits: the weights save memory only"]
    return []
