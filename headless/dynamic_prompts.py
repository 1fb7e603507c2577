"""Resolves choices in texts, "a {red|blue} ball", as the frontend does in widgets with the option dynamicPrompts."""

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
InputKey = tuple[str, str]  # node, input
SEEDS = 2**32


def make_choices(
    prompt: Mapping[str, Entry], object_info: Mapping[str, Any], seed: int, only: InputKey | None = None
) -> dict[InputKey, str]:
    """Resolve the texts of a prompt in place. Returns (node, input) -> message, for texts that changed. For an input, a
    seed always makes the same choices. only: resolve this input alone."""
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
    """The inputs of a prompt's node whose texts may have choices."""
    specs = dict(all_specs(object_info[entry["class_type"]]))
    texts = [name for name, value in entry["inputs"].items() if isinstance(value, str)]
    return [name for name in texts if name in specs and options(specs[name]).get("dynamicPrompts") is True]


def resolve(text: str, choose: Choose) -> str:
    """Remove comments and replace each {a|b} by one option, nested ones first; \\\\{ stands for a brace."""
    text = COMMENT.sub("", text)
    # options of the open choices, innermost last; the first is the text around all of them
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
    """Resolve the innermost open choice: the chosen option, unescaped, becomes text of the choice around it."""
    parts = ["".join(part) for part in levels.pop()]
    levels[-1][-1].append(ESCAPED.sub(r"\1", choose(parts)))
