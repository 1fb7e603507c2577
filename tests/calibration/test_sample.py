"""The sample of a layer's inputs: distinct, fair over calls, the same each time, and small."""

import math

import numpy
import pytest
import torch

from x2v_quant.calibration.sample import SLACK, Sample, token_keys
from x2v_quant.calibration.shared_samples import SharedSamples

K = 16


def rows(seed, count, width=K, dtype=torch.bfloat16):
    return torch.randn((count, width), generator=torch.Generator().manual_seed(seed)).to(dtype)


def numbered(begin, end):
    """[end - begin, 2]: tokens with a number, which each has in two bfloat16 digits."""
    numbers = torch.arange(begin, end)
    return torch.stack([numbers // 256, numbers % 256], 1).to(torch.bfloat16)


def numbers(sample):
    digits = sample.read().to(torch.int64)
    return (digits[:, 0] * 256 + digits[:, 1]).tolist()


def sample(*calls, limit=64):
    result = None
    for x in calls:
        result = SharedSamples(limit).add(result, x)
    return result


def as_set(tokens):
    return {tuple(row) for row in tokens.float().tolist()}


@pytest.mark.parametrize("width", [1, 2, 7, 64])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_all_tokens_are_there_once_if_there_is_room(dtype, width):
    x = rows(1, 20, width, dtype)
    kept = sample(x, x[[3, 3, 5]], torch.cat([x[:4], x[:4]])).read()
    stored = x.to(torch.bfloat16) if dtype == torch.float32 else x
    assert kept.dtype == stored.dtype
    assert as_set(kept) == as_set(stored)
    assert len(kept) == len(as_set(stored))


def test_padding_counts_once():
    prompt = rows(1, 30)
    padded = torch.cat([prompt, torch.zeros((3000, K), dtype=torch.bfloat16)])
    assert sample(padded, padded, limit=64).shape == (31, K)


def test_more_than_the_limit_is_cut():
    kept = sample(rows(1, 500), rows(2, 500), limit=64)
    assert kept.shape == kept.read().shape == (64, K)
    assert as_set(kept.read()) <= as_set(torch.cat([rows(1, 500), rows(2, 500)]))


def test_every_call_is_as_likely_as_any_other():
    """Of 16 calls of 400 tokens; so far off as here (chi square, 15 degrees of freedom) is one sample of 1,000."""
    kept = sample(*(numbered(400 * call, 400 * (call + 1)) for call in range(16)), limit=1600)
    counts = numpy.bincount(numpy.array(numbers(kept)) // 400, minlength=16)
    expected = 1600 / 16
    # drawn without replacement, a quarter of all
    assert ((counts - expected) ** 2 / expected).sum() / (1 - 1 / 4) < 37.7


def test_a_call_that_is_repeated_is_not_more_likely():
    first, second = numbered(0, 1000), numbered(1000, 2000)
    kept = numpy.array(numbers(sample(first, second, *[first] * 20, limit=800)))
    assert abs((kept < 1000).sum() - 400) < 4 * math.sqrt(800 / 4)


def test_it_follows_from_the_tokens_alone():
    calls = [rows(seed, 200) for seed in range(5)]
    kept = sample(*calls, limit=100).read()
    assert torch.equal(kept, sample(*calls, limit=100).read())
    assert torch.equal(kept, sample(*reversed(calls), limit=100).read())
    assert torch.equal(kept, sample(torch.cat(calls), limit=100).read())


def test_its_order_is_random():
    """The first half of it is as fair as the whole."""
    kept = numpy.array(numbers(sample(numbered(0, 4000), numbered(4000, 8000), limit=1000)))
    assert abs((kept[:500] < 4000).sum() - 250) < 4 * math.sqrt(500 / 4)


def test_a_sample_stays_as_it_is():
    before = sample(rows(1, 300), limit=50)
    tokens = before.read()
    SharedSamples(50).add(before, rows(2, 300))
    assert torch.equal(before.read(), tokens)


@pytest.mark.parametrize("calls", [2, 100])
def test_memory_is_bounded(calls):
    kept = sample(*(rows(seed, 200) for seed in range(calls)), limit=128)
    assert kept.nbytes <= SLACK * 128 * K * 2


def test_few_rows_are_copied_to_the_cpu():
    """A call brings as many as it has in the sample, and it never takes more than the limit."""
    before = sample(*(rows(seed, 1000) for seed in range(50)), limit=200)
    after = SharedSamples(200).add(before, rows(50, 1000))
    assert 0 < len(set(after.keys.tolist()) - set(before.keys.tolist())) < 20


def test_rows_that_differ_in_one_bit_have_other_keys():
    x = torch.zeros((17, 64), dtype=torch.bfloat16)
    bits = x.view(torch.int16)
    for bit in range(15):
        bits[bit + 1, 40] = 1 << bit
    bits[16, 40] = -(1 << 15)
    assert len(set(token_keys(x, x.dtype).tolist())) == 17


def test_keys_do_not_depend_on_what_is_beside_or_where_it_lies():
    x = rows(1, 300, 63)
    keys = token_keys(x, x.dtype)
    assert (token_keys(x[7:9], x.dtype) == keys[7:9]).all()
    assert (token_keys(x.t().contiguous().t(), x.dtype) == keys).all()
    shifted = torch.cat([torch.zeros(1, dtype=x.dtype), x.flatten()])[1:].view_as(x)
    assert (token_keys(shifted, x.dtype) == keys).all()


def test_a_large_input_is_hashed_in_parts(monkeypatch):
    x = rows(1, 300)
    keys = token_keys(x, x.dtype)
    monkeypatch.setattr("x2v_quant.calibration.sample.PAIRS", 50)
    assert (token_keys(x, x.dtype) == keys).all()


def test_layers_with_the_same_inputs_have_one_sample():
    x, other = rows(1, 40), rows(2, 40)
    q = k = o = None
    for _ in range(2):
        call = SharedSamples(64)
        q, k, o = call.add(q, x), call.add(k, x.clone()), call.add(o, other)
    assert q is k
    assert q is not o


def test_layers_that_differ_later_part():
    x, y, z = (rows(seed, 40) for seed in range(3))
    call = SharedSamples(128)
    q, k = call.add(None, x), call.add(None, x)
    call = SharedSamples(128)
    q, k = call.add(q, y), call.add(k, z)
    assert as_set(q.read()) == as_set(torch.cat([x, y]))
    assert as_set(k.read()) == as_set(torch.cat([x, z]))


def test_nothing_recorded_is_empty():
    assert Sample.empty(8, 4, torch.float32).read().shape == (0, 4)
