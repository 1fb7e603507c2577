"""What counts as a raise site, and when an error case covers it: else a new one would go unseen."""

from dataclasses import dataclass

import pytest

from error_cases.raise_sites import is_covered, raise_sites_in, said

SOURCE = '''
def refuse(name, key):
    """Raise it, with two words or more."""
    if name:
        raise ValueError(
            f"{name} is wrong. "
            "Pick another one."
        )
    if key:
        return Problem(name, key, f"has no {key} beside it", AGAIN)
    try:
        work()
    except OSError:
        raise

    def inner():
        raise KeyError(name)

class Thing:
    def check(self):
        cause = "is damaged and cut"
        self._blame(self.key, cause, "short")

def note():
    return "words that are of no error"
'''


@dataclass(frozen=True)
class Told:
    message: str
    lines: frozenset


@pytest.fixture
def found(tmp_path):
    (tmp_path / "file.py").write_text(SOURCE)
    return {site.text: site for site in raise_sites_in("file.py", tmp_path / "file.py")}


def test_every_raise_and_every_sentence_of_a_problem(found):
    places = {(site.function, site.words) for site in found.values()}
    assert places == {
        ("refuse", ()),
        ("refuse", ("has no ", " beside it")),
        ("refuse.inner", ()),
        ("Thing.check", ("is damaged and cut",)),
    }


@pytest.mark.parametrize("line,covered", [(4, False), (5, True), (8, True), (9, False)])
def test_a_raise_is_covered_by_its_lines(line, covered, found):
    (site,) = (site for site in found.values() if "Pick another one" in site.text)
    assert is_covered(site, [Told("", frozenset({("file.py", line)}))]) == covered
    assert not is_covered(site, [Told("x is wrong. Pick another one.", frozenset({("other.py", line)}))])


@pytest.mark.parametrize(
    "message,covered",
    [("f: a has no b beside it. Again.", True), ("f: a has no b. Again.", False), (" beside it, has no ", False)],
)
def test_a_sentence_is_covered_by_its_words_in_their_order(message, covered, found):
    (site,) = (site for site in found.values() if "beside it" in site.text)
    assert is_covered(site, [Told(message, frozenset())]) == covered
    assert said(site.words, message) == covered
