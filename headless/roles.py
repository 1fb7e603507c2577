"""The role of a saved node in the prompt: run by the server, or resolved here because only a browser knows it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Node = Mapping[str, Any]

RUN = "run"  # by the server
NOTE = "note"  # ignored
PASS = "pass"  # its output is its input: reroutes, and nodes that set a name
GET = "get"  # its output is the input of the node that sets the same name
VALUE = "value"  # its output is the value of its first widget
EVERYWHERE = "everywhere"  # its input feeds inputs without links, see everywhere.py
UNKNOWN = "unknown"

# the frontend's own types, even if a server has nodes of these names
NOTES = ("Note", "MarkdownNote")
FRONTEND = {**dict.fromkeys(NOTES, NOTE), "Reroute": PASS, "PrimitiveNode": VALUE}
EVERYWHERES = ("Anything Everywhere", "Anything Everywhere3", "Anything Everywhere?", "Prompts Everywhere")
SETTERS = ("SetNode", "easy setNode")
# types that node packs' scripts define, unless the server has a node of that name
SCRIPTS = {
    **dict.fromkeys((*SETTERS, "Reroute (rgthree)"), PASS),
    **dict.fromkeys(("GetNode", "easy getNode"), GET),
    **dict.fromkeys(("Bookmark (rgthree)", "Label (rgthree)", "Note+ (mtb)"), NOTE),
    **dict.fromkeys(("Fast Groups Muter (rgthree)", "Fast Groups Bypasser (rgthree)"), NOTE),
    **dict.fromkeys(("Fast Muter (rgthree)", "Fast Bypasser (rgthree)", "Fast Actions Button (rgthree)"), NOTE),
    **dict.fromkeys(("Mute / Bypass Relay (rgthree)", "Mute / Bypass Repeater (rgthree)"), NOTE),
    **dict.fromkeys(("Random Unmuter (rgthree)", "Node Collector (rgthree)", "easy bookmark"), NOTE),
    "Seed Everywhere": VALUE,
}
WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
GROUP_NODE = re.compile(r"workflow[>/]")


class Roles:
    """Roles by type. Types like those of SCRIPTS under other names are recognised by a word in the name and by their
    slots; set and get nodes only if the file has both."""

    def __init__(self, nodes: Iterable[Node], object_info: Mapping[str, Any]):
        """nodes: all nodes of the file."""
        self._object_info = object_info
        unknown = [node for node in nodes if self._by_name(node) == UNKNOWN]
        self._pairs = {pair(node["type"]) for node in unknown if gets(node)}
        self._pairs &= {pair(node["type"]) for node in unknown if sets(node)}

    def of(self, node: Node) -> str:
        found = self._by_name(node)
        if found != UNKNOWN:
            return found
        if len(node["inputs"]) == 1 and len(node["outputs"]) <= 1 and "reroute" in words_of(node["type"]):
            return PASS
        if pair(node["type"]) in self._pairs:
            return GET if gets(node) else PASS if sets(node) else UNKNOWN
        return UNKNOWN

    def _by_name(self, node: Node) -> str:
        kind = node["type"]
        if kind in FRONTEND:
            return FRONTEND[kind]
        if kind in EVERYWHERES:
            return EVERYWHERE
        return RUN if kind in self._object_info else SCRIPTS.get(kind, UNKNOWN)


def gets(node: Node) -> bool:
    return not node["inputs"] and len(node["outputs"]) == 1 and "get" in words_of(node["type"]) and name_of(node) != ""


def sets(node: Node) -> bool:
    known = node["type"] in SETTERS
    return (known or (len(node["inputs"]) == 1 and "set" in words_of(node["type"]))) and name_of(node) != ""


def words_of(kind: str) -> set[str]:
    return {word.lower() for word in WORD.findall(kind)}


def name_of(node: Mapping[str, Any]) -> str:
    """The name that a node sets or gets: the value of its first widget."""
    values = node["widgets_values"]
    first = next(iter(values.values() if isinstance(values, Mapping) else values), "")
    return str(first) if isinstance(first, str | int | float) else ""


def pair(kind: str) -> str:
    """The common part of the names of a set type and its get type."""
    return " ".join(sorted(words_of(kind) - {"get", "set"}))
