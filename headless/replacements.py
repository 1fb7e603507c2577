"""Names of files with words that the frontend fills in as it sends them: %date:yyyy-MM-dd%, %KSampler.seed%."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .roles import VALUE

if TYPE_CHECKING:
    from .graph import Graph

# the nodes whose names are filled in: the frontend's own table, and a pack that does the same
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
    """Changes the names in a prompt that was made of the graph. What names no node stays, and is told."""
    now = datetime.now()
    for number, entry in prompt.items():
        text = entry["inputs"].get(INPUT)
        if entry["class_type"] in SAVERS and isinstance(text, str):
            parts = WORD.split(text)  # every second one is a word
            parts[1::2] = [_filled(word, number, prompt, graph, now) for word in parts[1::2]]
            entry["inputs"][INPUT] = "".join(parts)


def _filled(word: str, number: str, prompt: Mapping[str, Any], graph: "Graph", now: datetime) -> str:
    name, dot, widget = word.partition(".")
    if not dot or "." in widget:
        # the server knows more words, like %year% and %width%
        return formatted(name.removeprefix(DATE), now) if name.startswith(DATE) else f"%{word}%"
    for by_title in (False, True):
        for inner, node in _every(graph):
            if name == (node["title"] if by_title else _name(inner, node)):
                values = _values(inner, node, prompt)
                if widget in values:
                    return UNFIT.sub("_", _text(values[widget]))
    kind = prompt[number]["class_type"]
    told = f"node {number} ({kind}) keeps '%{word}%' in its {INPUT}: no node of that name has that widget"
    graph.place.tell(told)
    return f"%{word}%"


def formatted(form: str, now: datetime) -> str:
    """yyyy, yy, MM, dd, hh, mm, ss; one letter for no leading zero."""

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


def _name(graph: "Graph", node: Mapping[str, Any]) -> Any:
    own = node["type"] if node["type"] in graph.place.object_info and node["type"] not in SAVERS else None
    return node["properties"].get(NAME, own)


def _values(graph: "Graph", node: Mapping[str, Any], prompt: Mapping[str, Any]) -> dict[str, Any]:
    """Widget -> value; what is linked to a widget is none."""
    if graph.place.roles.of(node) == VALUE:
        saved = node["widgets_values"]
        return dict(zip(("value",), saved.values() if isinstance(saved, dict) else saved, strict=False))
    if node["type"] not in graph.place.object_info:
        return {}
    sent = prompt.get(f"{graph.path}{node['id']}", {"inputs": {}})["inputs"]
    return graph.widget_values(node) | {name: value for name, value in sent.items() if not isinstance(value, list)}


def _text(value: Any) -> str:
    """As a browser writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
