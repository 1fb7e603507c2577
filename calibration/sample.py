"""Distinct tokens of a layer's inputs: a fair sample over all calls, and no larger than its limit."""

import functools
import itertools
import mmap
from dataclasses import dataclass, field

import numpy
import torch

# the fixed generator's seed: a run that is repeated gives the same sample
SEED = 0
# of a large tensor so many pairs of values are hashed at a time, in int64
PAIRS = 1 << 22
# Windows has no other mappings
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
# room for rows, in times the limit: once it is full, the rows that are no longer in the sample are dropped
SLACK = 1.25


class Rows:
    """Rows [n, K] on the CPU, which are added and never change. Their memory is from the system itself: what a run
    allocates besides leaves no holes between them, and it is given back when the object goes."""

    def __init__(self, capacity: int, channels: int, dtype: torch.dtype):
        with torch.inference_mode(False):  # what was made in that mode takes no rows outside of it
            self.tensor = torch.empty((0, channels), dtype=dtype)
            if capacity:
                memory = mmap.mmap(-1, capacity * channels * dtype.itemsize, **PRIVATE)
                self.tensor = torch.frombuffer(memory, dtype=dtype).view(capacity, channels)
        self.used = 0

    def append(self, rows: torch.Tensor) -> numpy.ndarray:
        """rows: [n, K] on any device, for which there has to be room -> int64 [n], where they are."""
        begin, self.used = self.used, self.used + len(rows)
        self.tensor[begin : self.used].copy_(rows)
        return numpy.arange(begin, self.used)


@dataclass(frozen=True, eq=False)
class Sample:
    """Up to `limit` distinct tokens. It never changes, and `add` gives a new one, so that layers, copies and snapshots
    may share it.

    Every token has a key, which follows from its values alone and looks random. The sample has the tokens with the
    smallest keys (a bottom-k sketch, Cohen and Kaplan 2007). So each distinct token is as likely to be in it as any
    other, whichever call it came in and however often.

    `keys`: uint64 [T], ascending. `places`: int64 [T], the row of each token in `rows`, which has those of samples
    before and after this one too. `number`: of this object, never used again.
    """

    limit: int
    keys: numpy.ndarray
    places: numpy.ndarray
    rows: Rows
    number: int = field(default_factory=itertools.count(1).__next__)

    @staticmethod
    def empty(limit: int, channels: int, dtype: torch.dtype) -> "Sample":
        """limit: tokens. channels: K. dtype: of the layer's inputs; what has no 16 bits is stored in bfloat16."""
        stored = dtype if dtype in (torch.float16, torch.bfloat16) else torch.bfloat16
        return Sample(limit, numpy.empty(0, numpy.uint64), numpy.empty(0, numpy.int64), Rows(0, channels, stored))

    @property
    def dtype(self) -> torch.dtype:
        return self.rows.tensor.dtype

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.keys), self.rows.tensor.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, with the room for more."""
        return self.rows.tensor.nbytes

    def read(self) -> torch.Tensor:
        """A copy of the tokens, [T, K] on the CPU, in an order that is random and always the same."""
        return self.rows.tensor[torch.from_numpy(self.places)]

    def add(self, x: torch.Tensor, keys: numpy.ndarray) -> "Sample":
        """The sample of all tokens so far and of x [M, K] on any device. keys: `token_keys` of x. Rows are copied to
        the CPU only if they belong to the sample: `limit` at most, and fewer with every call."""
        full = len(self.keys) == self.limit
        fits = numpy.flatnonzero(keys < self.keys[-1]) if full else numpy.arange(len(keys))
        found, first = numpy.unique(keys[fits], return_index=True)
        new = ~numpy.isin(found, self.keys, assume_unique=True)
        found, fits = found[new], fits[first[new]]
        merged = numpy.concatenate([self.keys, found])
        order = numpy.argsort(merged)[: self.limit]
        taken = numpy.sort(order[order >= len(self.keys)]) - len(self.keys)
        if not len(taken):
            return self
        before = self._with_room(len(taken), numpy.isin(numpy.arange(len(self.keys)), order))
        places = numpy.zeros(len(merged), numpy.int64)
        places[: len(self.keys)] = before.places
        places[len(self.keys) + taken] = before.rows.append(x[torch.from_numpy(fits[taken]).to(x.device)])
        return Sample(self.limit, merged[order], places[order], before.rows)

    def _with_room(self, count: int, stays: numpy.ndarray) -> "Sample":
        """The same with room for `count` more rows. stays: bool [T], False for tokens whose rows may be dropped."""
        if self.rows.used + count <= len(self.rows.tensor):
            return self
        needed = int(stays.sum()) + count
        rows = Rows(max(needed, min(2 * needed, int(SLACK * self.limit))), self.shape[1], self.dtype)
        places = numpy.zeros_like(self.places)
        places[stays] = rows.append(self.rows.tensor[torch.from_numpy(self.places[stays])])
        return Sample(self.limit, self.keys, places, rows)


def token_keys(x: torch.Tensor, dtype: torch.dtype) -> numpy.ndarray:
    """x: [M, K] on any device -> uint64 [M]: keys that are equal for equal rows, once these have the 16-bit `dtype`.

    A multilinear hash of pairs of values (Lemire and Kaser 2014), computed where x is, in whole numbers: so the sum is
    the same in any order, on any device. Then MurmurHash3's last step, on the CPU."""
    pairs = (x.shape[1] + 1) // 2
    factors = _factors(pairs, x.device)
    sums = [_hashed(part.to(dtype), factors) for part in x.split(max(1, PAIRS // pairs))]
    keys = torch.cat(sums).cpu().numpy().view(numpy.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        keys = (keys ^ (keys >> numpy.uint64(33))) * numpy.uint64(factor)
    return keys ^ (keys >> numpy.uint64(33))


def _hashed(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    even = torch.nn.functional.pad(rows, (0, rows.shape[1] % 2)).contiguous()
    return even.view(torch.int32).to(torch.int64).mul_(factors).sum(dim=1)


@functools.lru_cache(maxsize=32)
def _factors(count: int, device: torch.device) -> torch.Tensor:
    """Odd int64 [count], the same on every device."""
    generator = torch.Generator().manual_seed(SEED)
    return (torch.randint(-(2**63), 2**63 - 1, (count,), generator=generator) | 1).to(device)
