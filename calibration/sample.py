"""Distinct tokens of a layer's inputs: a fair sample over all calls, and no larger than its limit."""

import functools
from dataclasses import dataclass

import numpy
import torch

# the fixed generator's seed: a run that is repeated gives the same sample
SEED = 0
# of a large tensor so many pairs of values are hashed at a time, in int64
PAIRS = 1 << 22
# rows that lie in memory, in times the limit, before those that are no longer in the sample are dropped
SLACK = 1.25


@dataclass(frozen=True, eq=False)
class Sample:
    """Up to `limit` distinct tokens. It never changes, and `add` gives a new one, so that layers, copies and snapshots
    may share it.

    Every token has a key, which follows from its values alone and looks random. The sample has the tokens with the
    smallest keys (a bottom-k sketch, Cohen and Kaplan 2007). So each distinct token is as likely to be in it as any
    other, whichever call it came in and however often.

    `keys`: uint64 [T], ascending. `pieces`: tensors [rows, K] in 16 bits on the CPU; `places`: int64 [T], the row of
    each token in all the pieces, one below the other.
    """

    limit: int
    keys: numpy.ndarray
    places: numpy.ndarray
    pieces: tuple[torch.Tensor, ...]

    @staticmethod
    def empty(limit: int, channels: int, dtype: torch.dtype) -> "Sample":
        """limit: tokens. channels: K. dtype: of the layer's inputs; what has no 16 bits is stored in bfloat16."""
        stored = dtype if dtype in (torch.float16, torch.bfloat16) else torch.bfloat16
        nothing = torch.empty((0, channels), dtype=stored)
        return Sample(limit, numpy.empty(0, numpy.uint64), numpy.empty(0, numpy.int64), (nothing,))

    @property
    def dtype(self) -> torch.dtype:
        return self.pieces[0].dtype

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.keys), self.pieces[0].shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of memory, of rows that are no longer in the sample as well."""
        return sum(piece.nbytes for piece in self.pieces)

    def read(self) -> torch.Tensor:
        """A copy of the tokens, [T, K] on the CPU, in an order that is random and always the same."""
        result = torch.empty(self.shape, dtype=self.dtype)
        begin = 0
        for piece in self.pieces:
            mine = numpy.flatnonzero((self.places >= begin) & (self.places < begin + len(piece)))
            result[mine] = piece[self.places[mine] - begin]
            begin += len(piece)
        return result

    def add(self, x: torch.Tensor, keys: numpy.ndarray) -> "Sample":
        """The sample of all tokens so far and of x [M, K] on any device. keys: `token_keys` of x. Rows are copied to
        the CPU only if they belong to the sample: `limit` at most, and fewer with every call."""
        full = len(self.keys) == self.limit
        rows = numpy.flatnonzero(keys < self.keys[-1]) if full else numpy.arange(len(keys))
        found, first = numpy.unique(keys[rows], return_index=True)
        new = ~numpy.isin(found, self.keys, assume_unique=True)
        found, rows = found[new], rows[first[new]]
        merged = numpy.concatenate([self.keys, found])
        order = numpy.argsort(merged)[: self.limit]
        taken = numpy.sort(order[order >= len(self.keys)]) - len(self.keys)
        if not len(taken):
            return self
        piece = x[torch.from_numpy(rows[taken]).to(x.device)].to(self.dtype).cpu()
        places = numpy.zeros(len(merged), numpy.int64)
        places[: len(self.keys)] = self.places
        places[len(self.keys) + taken] = sum(map(len, self.pieces)) + numpy.arange(len(taken))
        larger = Sample(self.limit, merged[order], places[order], (*self.pieces, piece))
        return larger if sum(map(len, larger.pieces)) <= SLACK * self.limit else larger._packed()

    def _packed(self) -> "Sample":
        return Sample(self.limit, self.keys, numpy.arange(len(self.keys)), (self.read(),))


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
