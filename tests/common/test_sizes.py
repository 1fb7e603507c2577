"""Bytes in words."""

import pytest

from x2v_quant.common.sizes import amount


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.00 kB"),
        (999_400, "999 kB"),
        (999_600, "1.00 MB"),
        (1_530_000, "1.53 MB"),
        (59_060_000, "59.1 MB"),
        (999_999_999, "1.00 GB"),
        (14_000_000_000, "14.0 GB"),
        (1_234_000_000_000, "1234 GB"),
    ],
)
def test_amounts(count, words):
    assert amount(count) == words
