"""Numbers on a command line, and what is said of others."""

import argparse

import pytest

from x2v_quant.common.typed_numbers import between


def test_numbers_within_the_limits_are_read():
    assert between(int, 1, 9)("9") == 9
    assert between(float, 0)("1e30") == 1e30


@pytest.mark.parametrize(
    "read,text,words",
    [
        (between(int, 1, 9), "10", "10 is not between 1 and 9"),
        (between(int, 1), "0", "0 is not 1 or more"),
        (between(int, 1), "1.5", "'1.5' is not a whole number"),
        (between(float, 0), "much", "'much' is not a number"),
        (between(float, 0), "nan", "nan is not 0 or more"),
        (between(float, 0), "inf", "inf is not 0 or more"),
    ],
)
def test_others_are_refused(read, text, words):
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        read(text)
