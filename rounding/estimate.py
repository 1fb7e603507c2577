"""How long rounding will take: counted work over the speed of a machine, which is measured in a fifth of a second."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch

from ..formats.grid import Grid
from .curvature import Curvature
from .descent import SWEEPS, descend
from .gptq import BLOCK, gptq
from .triangular import invert_lower_

# the sizes that are measured, by the type of the device: of a square product, and of a Cholesky factor
SQUARES = {"cpu": (640, 768), "cuda": (4096, 4096)}
# rows of the blocks of columns that are swept, and columns of what is searched
FEW, MANY, SEARCHED = 64, 1024, 512
# runs of what takes milliseconds, in which others may come between
SHORT = 5
# seconds for each value that is only rounded to the nearest
PLAIN = 1e-8


@dataclass(frozen=True)
class Sweep:
    """Of one grid. `column`: seconds for each column that GPTQ rounds and coordinate descent chooses again, and `value`
    for each value in it; `search`: for each value whose scale is searched."""

    column: float
    value: float
    search: float


@dataclass(frozen=True)
class Speed:
    """Of one machine. `product`: multiply-adds a second of float32 matrices. `factor`: K^3 a second, of a Cholesky
    factor [K, K] and its inverse. `sweep`: of a grid. `rows`: the most values that are swept at once."""

    product: float
    factor: float
    sweep: Callable[[Grid], Sweep] = field(hash=False)
    values: int


# an RTX 4090, by its published numbers: 80 TFLOPS of which half are reached, 1 TB/s, some 10 launches of 5 us a column
# each time that it is rounded
TIMES = 1 + SWEEPS
GPU = Speed(2e13, 2e12, lambda grid: Sweep(TIMES * 5e-5, TIMES * 6e-10, 1e-10 * _tried(grid)), 1 << 27)


@dataclass(frozen=True)
class Work:
    """One weight. `shape`: (N, K). `grid`: of its format, None for one that is rounded to the nearest without a search.
    `tokens`: of GPTQ, 0 for any other method. `key`: equal for layers with the same input."""

    shape: tuple[int, int]
    grid: Grid | None
    tokens: int = 0
    key: str | None = None


def seconds(work: Iterable[Work], speed: Speed) -> list[float]:
    """For each weight; the first of neighbours with the same input has the time for what they share."""
    found, last = [], None
    for one in work:
        found.append(_seconds(one, speed, one.key is None or one.key != last))
        last = one.key if one.tokens else None
    return found


def _seconds(work: Work, speed: Speed, alone: bool) -> float:
    rows, columns = work.shape
    values = rows * columns
    if work.grid is None:
        return values * PLAIN
    sweep = speed.sweep(work.grid)
    total = values * sweep.search
    if not work.tokens:
        return total
    if alone:
        # the Hessian, then half of it a second time
        total += 1.5 * work.tokens * columns**2 / speed.product + columns**3 / speed.factor
    pieces = -(-values // speed.values)
    # a column's errors reach the columns after it, in coordinate descent all
    products = values * columns * (0.5 + SWEEPS)
    return total + pieces * columns * sweep.column + values * sweep.value + products / speed.product


def measured(device: torch.device, values: int) -> Speed:
    """The speed of a device now. values: the most that are swept at once."""
    side, order = SQUARES.get(device.type, SQUARES["cpu"])
    matrix = torch.randn((side, side), device=device)
    product = side**3 / _fastest(lambda: matrix @ matrix, device)
    positive = torch.eye(order, device=device).add_(1e-3)
    factor = order**3 / _fastest(lambda: invert_lower_(torch.linalg.cholesky_ex(positive)[0]), device)
    known: dict[int, Sweep] = {}

    def sweep(grid: Grid) -> Sweep:
        if id(grid) not in known:
            known[id(grid)] = _measured_sweep(grid, device)
        return known[id(grid)]

    return Speed(product, factor, sweep, values)


def _measured_sweep(grid: Grid, device: torch.device) -> Sweep:
    """Of a block of columns, few rows of it and many."""
    unit = Curvature(
        torch.arange(BLOCK, device=device), torch.eye(BLOCK, device=device), torch.ones(BLOCK, device=device)
    )
    times = []
    for rows in (FEW, MANY):
        weight = torch.randn((rows, BLOCK), device=device)
        whole = None if grid.whole is None else grid.whole(weight.abs().amax())
        scale = grid.absmax(weight, whole)
        times.append(_fastest(lambda: _swept(weight, grid, scale, unit), device, SHORT))  # noqa: B023 - called at once
    value = max(0.0, times[1] - times[0]) / ((MANY - FEW) * BLOCK)
    column = max(0.0, times[0] / BLOCK - FEW * value)
    sample = torch.randn((SEARCHED, SEARCHED), device=device)
    whole = None if grid.whole is None else grid.whole(sample.abs().amax())
    search = _fastest(lambda: grid.searched(sample, whole), device) / SEARCHED**2
    return Sweep(column, value, search)


def _swept(weight: torch.Tensor, grid: Grid, scale, curvature: Curvature) -> torch.Tensor:
    return descend(weight, gptq(weight, grid, scale, curvature), grid, scale, curvature)


def _fastest(work: Callable[[], object], device: torch.device, times: int = 1) -> float:
    """Seconds, of the fastest of so many runs after one that warms up."""
    found = []
    for _ in range(times + 1):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        found.append(time.perf_counter() - started)
    return min(found[1:])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tried(grid: Grid) -> int:
    """Scales that a search tries."""
    return max(1, len(grid.factors)) * (1 if grid.lowest is None else 2)


def words(duration: float) -> str:
    """ "about 25 minutes"."""
    if duration < 60:
        return "less than a minute"
    if duration < 5400:
        minutes = round(duration / 60)
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    return f"about {duration / 3600:.1f} hours"
