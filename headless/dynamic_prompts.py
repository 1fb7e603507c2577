"""Texts with choices, "a {red|blue} ball", as the frontend resolves them in the widgets that say dynamicPrompts."""

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

from .specs import all_specs, options

COMMENT = re.compile("/\\*[\\s\\S]*?\\*/|//[^\n\r\u2028\u2029]*")
ESCAPED = re.compile(r"\\([{}|])")
BRACE = re.compile(r"\\[\s\S]?|[{|}]")
Choose = Callable[[list[str]], str]
Entry = Mapping[str, Any]
Place = tuple[str, str]  # node, input
SEEDS = 2**32


def make_choices(
    prompt: Mapping[str, Entry], object_info: Mapping[str, Any], seed: int, only: Place | None = None
) -> dict[Place, str]:
    """Resolves the texts of a prompt in place. The same seed chooses the same for an input, whatever else there is.
    only: this input alone. Returns what became of those that had something to resolve, in words."""
    told = {}
    for node, entry in prompt.items():
        for name in dynamic_inputs(entry, object_info):
            text = entry["inputs"][name]
            made = resolve(text, random.Random(f"{seed} {node} {name}").choice)
            if made != text and only in (None, (node, name)):
                entry["inputs"][name] = made
                again = f" (--prompt-seed {seed} chooses it again)" if "{" in text else ""
                told[node, name] = f"node {node} ({entry['class_type']}) gets {name} {made!r}{again}"
    return told


def dynamic_inputs(entry: Entry, object_info: Mapping[str, Any]) -> list[str]:
    """The inputs of one node of a prompt that may hold choices."""
    specs = dict(all_specs(object_info[entry["class_type"]]))
    texts = [name for name, value in entry["inputs"].items() if isinstance(value, str)]
    return [name for name in texts if name in specs and options(specs[name]).get("dynamicPrompts") is True]


def resolve(text: str, choose: Choose) -> str:
    """Comments go, each {a|b} becomes one of its parts, choices inside it are made then; \\\\{ stands for a brace."""
    text = COMMENT.sub("", text)
    # parts of the choices that are open: the innermost last; the text around them all is the first
    levels: list[list[list[str]]] = [[[]]]
    at = 0
    for mark in BRACE.finditer(text):
        levels[-1][-1].append(text[at : mark.start()])
        at = mark.end()
        if mark[0] == "{":
            levels.append([[]])
        elif mark[0] == "|" and len(levels) > 1:
            levels[-1].append([])
        elif mark[0] == "}" and len(levels) > 1:
            _close(levels, choose)
        else:
            levels[-1][-1].append(mark[0])
    levels[-1][-1].append(text[at:])
    while len(levels) > 1:
        _close(levels, choose)
    return ESCAPED.sub(r"\1", "".join(levels[0][0]))


def _close(levels: list[list[list[str]]], choose: Choose) -> None:
    """The innermost open choice is made: what it became, without its escapes, is text of the one around it."""
    parts = ["".join(part) for part in levels.pop()]
    levels[-1][-1].append(ESCAPED.sub(r"\1", choose(parts)))
