"""What would move a cursor, forge a line or hide is seen instead."""

import pytest

from x2v_quant.common.printable import printable


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\nproblem: none", r"a\nproblem: none"),
        ("a\r\x1b[2K", r"a\r\x1b[2K"),
        ("\x00\x07\x08\x7f\x9b", r"\x00\x07\x08\x7f\x9b"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("\u2066a\u2069\u200b\ufeff", r"\u2066a\u2069\u200b\ufeff"),
        ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_seen_is_written_out(text, seen):
    assert printable(text) == seen
    assert printable(seen) == seen
    assert seen.isprintable()


@pytest.mark.parametrize(
    "text", ["", "blocks.0.ffn.0.weight", r"C:\models\a b", "\u91cf\u5316\u3000\u6a21\u578b", "\U0001f600"]
)
def test_what_is_seen_stays(text):
    assert printable(text) == text
