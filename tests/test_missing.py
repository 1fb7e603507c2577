"""A file that a saved graph names is found with the separators of another system, or its folder is named."""

import pytest

from x2v_quant.nodes.missing import missing, problem, same_name

NAMES = ["wan/a.safetensors", "b.safetensors", "folder/"]
SAID = (
    "gone.safetensors is not in models/loras. Download it there (a template's note has the link) and press R, or pick "
    "another file."
)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("b.safetensors", "b.safetensors"),
        ("wan\\a.safetensors", "wan/a.safetensors"),
        ("folder\\", "folder/"),
        ("a.safetensors", None),
        ("", None),
        (7, None),
        (["b.safetensors"], None),
    ],
)
def test_a_name_with_the_separators_of_another_system_is_the_same(name, meant):
    assert same_name(name, NAMES) == meant


def test_names_of_windows_are_found_too():
    assert same_name("wan/a.safetensors", ["wan\\a.safetensors"]) == "wan\\a.safetensors"


def look_up(kind, name):
    if name not in NAMES:
        raise missing(name, kind)


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (["b.safetensors"], True),
        (["gone.safetensors"], SAID),
        (["b.safetensors", "gone.safetensors"], SAID),
        ([None], True),  # over a link: not known yet
    ],
)
def test_what_validate_inputs_answers(names, answer):
    assert problem(*((look_up, "loras", name) for name in names)) == answer
