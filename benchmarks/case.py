"""One line of a benchmark's result."""

from dataclasses import asdict, dataclass

TIMES = ("ms", "s")


@dataclass(frozen=True)
class Case:
    """`ours` and `theirs` in `unit`. For times the ratio is theirs / ours (how many times as fast); for memory it is
    ours / theirs. `target`: the ratio that is promised, a floor for times and a ceiling for memory; None if none is."""

    name: str
    ours: float
    theirs: float
    unit: str
    target: float | None = None

    @property
    def is_time(self) -> bool:
        return self.unit in TIMES

    @property
    def ratio(self) -> float:
        return self.theirs / self.ours if self.is_time else self.ours / self.theirs

    @property
    def met(self) -> bool | None:
        if self.target is None:
            return None
        return self.ratio >= self.target if self.is_time else self.ratio <= self.target

    def as_dict(self) -> dict:
        return {**asdict(self), "ratio": round(self.ratio, 4), "met": self.met}
