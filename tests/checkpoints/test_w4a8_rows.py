"""Rows of a w4a8 weight, cut off and joined: each brings its own scale, and all share the table of levels."""

import torch

from x2v_quant.checkpoints.weights import StoredWeight
from x2v_quant.common.row_slice import RowSlice
from x2v_quant.formats import FORMATS

# as wide as it is tall, so that nothing tells rows from columns but their meaning
SIZE = 256


def stored():
    weight = torch.randn((SIZE, SIZE), generator=torch.Generator().manual_seed(0))
    return StoredWeight.of(FORMATS["w4a8"].quantize(weight * torch.linspace(1, 9, SIZE).view(-1, 1), torch.float32))


def test_rows_keep_their_values():
    whole = stored()
    values = whole.wrap(torch.float32).dequantize()
    part = whole.cut([RowSlice(1, 4)])
    assert part.shape == (SIZE // 4, SIZE)
    assert part.tensors["s_channel"].shape == (SIZE // 4,)
    assert torch.equal(part.tensors["codebook"], whole.tensors["codebook"])
    assert torch.equal(part.wrap(torch.float32).dequantize(), values[SIZE // 4 : SIZE // 2])
    turned = whole.cut([RowSlice(1, 2), RowSlice(0, 2)])
    expected = torch.cat([values[SIZE // 2 :], values[: SIZE // 2]])
    assert torch.equal(turned.wrap(torch.float32).dequantize(), expected)
