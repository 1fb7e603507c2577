"""What a conversion will compute, as far as that is known before a weight is looked at."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..calibration.output_error import ROWS
from ..calibration.strength import FORMULAS
from ..formats import FORMATS, fitting
from ..layer_rules.shapes import why_not
from ..rounding.estimate import Work
from .layer_rounding import LayerRounding
from .measuring import SAMPLED
from .trial import UNSEEN

# values of a whole weight that are read for its factors in the time in which one is tried
READ = 6


@dataclass(frozen=True)
class Foreseen:
    """`tried`: values of weights that are rounded to the nearest and multiplied, to find formats and factors. `trials`:
    what is rounded otherwise for that. `works`: what may be rounded for the file, in each of the formats that layers
    are chosen from, or as they are asked for; one of them comes true."""

    tried: int = 0
    trials: tuple[Work, ...] = ()
    works: tuple[tuple[Work, ...], ...] = ()

    @property
    def is_quick(self) -> bool:
        """Whether nothing is done but each value rounded to the nearest."""
        return not self.tried and not self.trials and all(work.grid is None for each in self.works for work in each)


def foreseen(
    rounding: LayerRounding,
    shapes: Mapping[str, tuple[int, int]],
    asked: Mapping[str, str],
    searched: Iterable[str] = (),
    candidates: Sequence[str] = (),
    smooths: bool = False,
) -> Foreseen:
    """shapes: layer -> (N, K). asked: layer -> format, of those that will be rounded and are not searched. searched:
    layers that get one of `candidates`. smooths: whether factors are looked for."""
    tried, trials = 0, []
    given = tuple(rounding.work(layer, shapes[layer], name) for layer, name in asked.items())
    tried += sum(_for_factors(rounding, shapes[layer], name) for layer, name in asked.items() if smooths)
    works = {name: [*given] for name in candidates}
    for layer in searched:
        rows = (min(shapes[layer][0], SAMPLED), shapes[layer][1])
        for candidate in candidates:
            if why_not(candidate, shapes[layer]) is not None:
                continue
            name = fitting(candidate, shapes[layer])
            tried += rows[0] * rows[1] + (_for_factors(rounding, shapes[layer], name) if smooths else 0)
            works[candidate].append(rounding.work(layer, shapes[layer], name))
            work = rounding.work(layer, rows, name)
            if work.grid is not None:
                basis = f"{work.key} {FORMATS[name].rotation}"
                trials.append(replace(work, tokens=int(work.tokens * (1 - UNSEEN)), key=basis))
    return Foreseen(tried, tuple(trials), tuple(map(tuple, works.values())) or (given,))


def _for_factors(rounding: LayerRounding, shape: tuple[int, int], name: str) -> int:
    """Values that are tried for a layer's factor."""
    rows, columns = shape
    tries = (1 + len(FORMULAS[formula].alphas) for formula in rounding.formulas if name in FORMULAS[formula].formats)
    return sum(min(rows, ROWS) * columns * count + rows * columns // READ for count in tries)
