"""What would move a cursor, forge a line or hide is seen instead."""

import ast
import copy
import pickle
import traceback

import pytest

from x2v_quant.checkpoints import CheckpointError, Problem
from x2v_quant.common.printable import SHOWN_AS, PrintableError, printable
from x2v_quant.core.on_path import PACK

# always caught: only their words go on
CAUGHT = {"LacksError", "WrongValueError"}
# no part of what ComfyUI runs
OUTSIDE = ("benchmarks", "tests", "dev.py")


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


@pytest.fixture
def error():
    problem = Problem("a.safetensors", "blocks.0", "has no scale", "Download it again.")
    with pytest.raises(CheckpointError) as caught:
        raise problem.error()
    return caught.value


def test_a_traceback_has_the_sentence_without_the_path_of_its_class(error):
    last = traceback.format_exception(error)[-1]
    assert last == f"{SHOWN_AS}: a.safetensors: blocks.0 has no scale. Download it again.\n"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_is_the_same(again, error):
    made = again(error)
    assert type(made) is CheckpointError and type(made).__name__ == "CheckpointError"
    assert (str(made), made.problem) == (str(error), error.problem)


def classes():
    """Every class of the pack that is named an error: (name, its bases)."""
    for file in sorted(PACK.rglob("*.py")):
        top = file.relative_to(PACK).parts[0]
        if top not in OUTSIDE and not top.startswith("."):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                    yield node.name, {base.id for base in node.bases}


def test_every_error_is_shown_so():
    found = dict(classes())
    ours = {PrintableError.__name__}
    while more := {name for name, bases in found.items() if name not in ours and bases & ours}:
        ours |= more
    assert "MissingFileError" in ours
    assert set(found) - ours == CAUGHT
