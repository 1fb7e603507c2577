"""Messages for prompts that a server refused or that failed; any field of its answer may be missing."""

from collections.abc import Mapping
from typing import Any

from ..common.printable import SHOWN_AS, printable
from .missing import OWN_CHECK, downloads_in, explained

MOST = 2000  # characters of one text
LINES = 100  # of one report


def refusal(answer: Mapping[str, Any], prompt: Mapping[str, Any], workflow: Any = None) -> str:
    """The message for a refused prompt: one line per complaint, with node id and type. workflow: the saved graph, which
    lists where its models are found."""
    error = answer.get("error") or {}
    summary = error if isinstance(error, str) else f"{_text(error, 'message')} {_text(error, 'details')}".strip()
    reports, downloads = _mapping(answer.get("node_errors")), downloads_in(workflow)
    lines = [f"the server refused the workflow{'' if reports or not summary else f': {summary}'}"]
    for node, report in reports.items():
        complaints = _mapping(report).get("errors")
        kind, inputs = _text(report, "class_type"), _mapping(_mapping(prompt.get(node)).get("inputs"))
        for complaint in complaints if isinstance(complaints, list) else ():
            name = _text(_mapping(complaint).get("extra_info"), "input_name")
            said = explained(kind, _mapping(complaint), inputs.get(name), downloads) or _complaint(complaint)
            lines.append(f"node {node} ({kind}): {said}")
    # what a node's own check says is there once for each of its inputs
    return "\n".join(_short(printable(line)) for line in list(dict.fromkeys(lines))[:LINES])


def failure(kind: str, data: Mapping[str, Any]) -> str:
    """The message for a failed or interrupted prompt, from the data that ComfyUI sends."""
    where = f"node {_line(data, 'node_id')} ({_line(data, 'node_type')})"
    if kind == "execution_interrupted":
        return f"interrupted in {where}"
    # a node may say more than one line; none of them looks like one of ours
    said = _text(data, "exception_message").strip().split("\n")
    # the name of the class alone, and only where it is all that there is
    if said == [""]:
        said = [_line(data, "exception_type").rpartition(".")[2]]
    failed = where if _text(data, "exception_type") == SHOWN_AS else f"{where} failed"
    return f"{failed}: " + "\n  ".join(map(_short, said[:LINES]))


def _complaint(complaint: Any) -> str:
    details = _text(complaint, "details")
    if _text(complaint, "type") == OWN_CHECK:
        return details.partition(" - ")[2] or details
    return f"{_text(complaint, 'message')}: {details}".rstrip(": ")


def _line(data: Any, key: str) -> str:
    return printable(_short(_text(data, key)))


def _text(data: Any, key: str) -> str:
    value = _mapping(data).get(key, "")
    return str(value) if isinstance(value, (str, int, float)) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]} ..."
