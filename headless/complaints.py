"""Messages for prompts that a server refused or that failed; any field of its answer may be missing."""

from collections.abc import Mapping
from typing import Any

from ..common.printable import SHOWN_AS, printable

MOST = 2000  # characters of one text
LINES = 100  # of one report
OWN_CHECK = "custom_validation_failed"  # its details: INPUT - SENTENCE


def refusal(answer: Mapping[str, Any]) -> str:
    """The message for a refused prompt: one line per complaint, with node id and type."""
    error = answer.get("error") or {}
    summary = error if isinstance(error, str) else f"{_text(error, 'message')} {_text(error, 'details')}".strip()
    lines = [f"the server refused the prompt: {summary}" if summary else "the server refused part of the prompt"]
    for node, report in _mapping(answer.get("node_errors")).items():
        complaints = _mapping(report).get("errors")
        for complaint in complaints if isinstance(complaints, list) else ():
            lines.append(f"node {node} ({_text(report, 'class_type')}): {_complaint(complaint)}")
    # what a node's own check says is there once for each of its inputs
    return "\n".join(_short(printable(line)) for line in list(dict.fromkeys(lines))[:LINES])


def failure(kind: str, data: Mapping[str, Any]) -> str:
    """The message for a failed or interrupted prompt, from the data that ComfyUI sends."""
    where = f"node {_line(data, 'node_id')} ({_line(data, 'node_type')})"
    if kind == "execution_interrupted":
        return f"interrupted in {where}"
    # a node may say more than one line; none of them looks like one of ours
    said = _text(data, "exception_message").strip().split("\n")
    # the name of the class alone, of ours none
    kind = _line(data, "exception_type").rpartition(".")[2]
    failed = where if kind == SHOWN_AS else f"{where} failed with {kind}"
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
