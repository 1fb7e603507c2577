"""Fills in placeholders in file names as the frontend does: %date:yyyy-MM-dd%, %KSampler.seed%."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .roles import VALUE

if TYPE_CHECKING:
    from .graph import Graph

# the nodes and inputs that are filled in: the frontend's own table, and a pack that does the same
SAVERS = {
    *("SaveImage", "SaveImageAdvanced", "SaveSVGNode", "SaveVideo", "SaveAnimatedWEBP", "SaveWEBM", "SaveAudio"),
    *("SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced", "SaveGLB", "Save3DAdvanced", "SaveGaussianSplat"),
    *("SavePointCloud", "SaveAnimatedPNG", "CLIPSave", "VAESave", "ModelSave", "LoraSave", "SaveLatent"),
    "VHS_VideoCombine",
}
INPUT = "filename_prefix"
NAME = "Node name for S&R"  # a property: "search and replace"
WORD = re.compile("%([^%]+)%")
DATE = "date:"
PART = re.compile("dd?|MM?|hh?|mm?|ss?|yyy?y?")
PARTS = {"d": "day", "M": "month", "h": "hour", "m": "minute", "s": "second"}
UNFIT = re.compile(r'[/?<>\\:*|"\x00-\x1f\x7f]')  # in a name of a file


def fill_in(prompt: Mapping[str, Any], graph: "Graph") -> None:
    """Fill in the file names of a prompt that was made from `graph`. Placeholders that name no node stay, with a
    note."""
    now = datetime.now()
    nodes = None
    for number, entry in prompt.items():
        text = entry["inputs"].get(INPUT)
        if entry["class_type"] not in SAVERS or not isinstance(text, str):
            continue
        parts = WORD.split(text)  # every second one is a word
        for index, word in enumerate(parts[1::2]):
            name, dot, widget = word.partition(".")
            filled = f"%{word}%"  # the server knows more words, like %year% and %width%
            if dot and "." not in widget:
                nodes = _by_name(graph) if nodes is None else nodes
                values = _values(*nodes[name], prompt) if name in nodes else {}
                if widget in values:
                    filled = UNFIT.sub("_", _text(values[widget]))
                else:
                    said = f"node {number} ({entry['class_type']}) keeps '{filled:.80}' in its {INPUT}"
                    graph.shared.tell(f"{said}: there is no node of that name with that input")
            elif name.startswith(DATE):
                filled = formatted(name.removeprefix(DATE), now)
            parts[2 * index + 1] = filled
        entry["inputs"][INPUT] = "".join(parts)


def _by_name(graph: "Graph") -> "dict[str, tuple[Graph, Mapping[str, Any]]]":
    """Name -> its first node; "Node name for S&R" takes precedence over titles."""
    found, titles = {}, {}
    for inner, node in _every(graph):
        found.setdefault(_name(inner, node), (inner, node))
        titles.setdefault(node["title"], (inner, node))
    return titles | found


def formatted(form: str, now: datetime) -> str:
    """Format a time by yyyy, yy, MM, dd, hh, mm, ss; a single letter omits the leading zero."""

    def part(found: re.Match[str]) -> str:
        letters = found[0]
        if letters in ("yy", "yyyy"):
            return str(now.year)[-len(letters) :]
        return str(getattr(now, PARTS[letters[0]])).rjust(len(letters), "0") if letters[0] in PARTS else letters

    return PART.sub(part, form)


def _every(graph: "Graph") -> "Iterator[tuple[Graph, Mapping[str, Any]]]":
    for number, node in graph.nodes.items():
        yield graph, node
        if number in graph.instances:
            yield from _every(graph.instances[number])


def _name(graph: "Graph", node: Mapping[str, Any]) -> str:
    own = node["type"] if node["type"] in graph.shared.object_info and node["type"] not in SAVERS else ""
    found = node["properties"].get(NAME, own)
    return found if isinstance(found, str) else ""


def _values(graph: "Graph", node: Mapping[str, Any], prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Widget -> value, without widgets that have a link."""
    if graph.shared.roles.of(node) == VALUE:
        saved = node["widgets_values"]
        return dict(zip(("value",), saved.values() if isinstance(saved, dict) else saved, strict=False))
    if node["type"] not in graph.shared.object_info:
        return {}
    sent = prompt.get(f"{graph.path}{node['id']}", {"inputs": {}})["inputs"]
    return graph.widget_values(node) | {name: value for name, value in sent.items() if not isinstance(value, list)}


def _text(value: Any) -> str:
    """A value as JavaScript writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
