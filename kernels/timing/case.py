"""One line of a result: ours against one peer."""

from dataclasses import asdict, dataclass

from .clock import Timing

# unit -> how many of it are a second
TIMES = {"ms": 1e3, "s": 1.0}
MEMORY = ("MB",)


@dataclass(frozen=True)
class Case:
    """`name` is "<what> vs <peer>"; `ours` and `theirs` are medians in `unit`. The ratio of times is theirs / ours and
    that of rates ours / theirs: how many times as fast ours is; that of memory is ours / theirs. `target`: the ratio
    that is promised, a floor for speed and a ceiling for memory; None if none is. `theirs` is None where the peer does
    not run, and `ours` too where the case cannot be had; `absent` says why. `spread`: quartiles in `unit` and rounds,
    {"ours": [low, high, rounds], "theirs": ...}, for what was timed.
    """

    name: str
    ours: float | None
    theirs: float | None
    unit: str
    target: float | None = None
    part: str | None = None
    absent: str | None = None
    spread: dict[str, list[float]] | None = None

    @property
    def ratio(self) -> float | None:
        if self.theirs is None:
            return None
        return self.theirs / self.ours if self.unit in TIMES else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        if self.target is None or self.ratio is None:
            return None
        return self.ratio <= self.target if self.unit in MEMORY else self.ratio >= self.target

    def as_dict(self) -> dict:
        ratio = None if self.ratio is None else round(self.ratio, 4)
        return {**asdict(self), "ratio": ratio, "met": self.met}


def timed(part: str, what: str, peer: str, ours: Timing, theirs: Timing, unit: str = "ms", target=None) -> Case:
    """A case of two timings in `unit`, "ms" or "s"."""
    scale = TIMES[unit]
    return Case(
        f"{what} vs {peer}",
        ours.median * scale,
        theirs.median * scale,
        unit,
        target,
        part,
        spread={"ours": _spread(ours, scale), "theirs": _spread(theirs, scale)},
    )


def _spread(timing: Timing, scale: float) -> list[float]:
    return [round(timing.low * scale, 4), round(timing.high * scale, 4), timing.rounds]
