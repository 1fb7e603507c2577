"""Slices of a tensor's rows, alone and together."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from x2v_quant.common.row_slice import ALL, RowSlice, shape_of, take

slices = st.integers(1, 6).flatmap(
    lambda count: st.integers(0, count - 1).flatmap(
        lambda index: st.builds(RowSlice, st.just(index), st.just(count), st.integers(1, count - index))
    )
)


@given(st.lists(slices, min_size=1, max_size=4))
def test_what_is_taken_has_the_shape_that_is_told(chosen):
    tensor = torch.arange(60 * 2).reshape(60, 2)
    found = take(tensor, chosen)
    assert found.shape == shape_of(tensor.shape, chosen)
    assert torch.equal(found, torch.cat([tensor[slice(*rows.span(60))] for rows in chosen]))


@given(slices)
def test_neighbours_become_one(first):
    second = RowSlice(first.index + first.length, first.count)
    joined = first.with_next(second)
    tensor = torch.arange(60)
    if second.index < first.count:
        assert torch.equal(joined.of(tensor), take(tensor, [first, second]))
        assert joined.is_all == (joined == ALL)
    assert first.with_next(first) is None
