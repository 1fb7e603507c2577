"""What a node of a saved graph is to the prompt: run by the server, or alive in the browser only."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Node = Mapping[str, Any]

RUN = "run"  # by the server
NOTE = "note"  # nothing to anybody
PASS = "pass"  # gives what it gets: reroutes, and what sets a name
GET = "get"  # gives what the node of the same name that sets it gets
VALUE = "value"  # gives the value of its first widget
EVERYWHERE = "everywhere"  # what it gets goes to inputs without links, see everywhere.py
UNKNOWN = "unknown"

# the frontend's own, whatever a server has
NOTES = ("Note", "MarkdownNote")
FRONTEND = {**dict.fromkeys(NOTES, NOTE), "Reroute": PASS, "PrimitiveNode": VALUE}
EVERYWHERES = ("Anything Everywhere", "Anything Everywhere3", "Anything Everywhere?", "Prompts Everywhere")
SETTERS = ("SetNode", "easy setNode")
# scripts of node packs, unless the server has a node of that name
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
    """Packs that do what SCRIPTS has under other names are known by the word in their name and by their slots; nodes
    that set and get only where a file has both."""

    def __init__(self, nodes: Iterable[Node], object_info: Mapping[str, Any]):
        """nodes: all of the file."""
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
    """The name that a node sets or gets: what its first widget shows."""
    values = node["widgets_values"]
    first = next(iter(values.values() if isinstance(values, Mapping) else values), "")
    return str(first) if isinstance(first, str | int | float) else ""


def pair(kind: str) -> str:
    """What a type that sets and the one that gets from it have in common."""
    return " ".join(sorted(words_of(kind) - {"get", "set"}))
