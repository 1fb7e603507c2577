"""Messages for prompts that a server refused or that failed; any field of its answer may be missing."""

from collections.abc import Mapping
from typing import Any

from ..common.printable import printable

MOST = 2000  # characters of one text
LINES = 100  # of one report


def refusal(answer: Mapping[str, Any]) -> str:
    """The message for a refused prompt: one line per complaint, with node id and type."""
    error = answer.get("error") or {}
    summary = error if isinstance(error, str) else f"{_text(error, 'message')} {_text(error, 'details')}".strip()
    lines = [f"the server refused the prompt: {summary}" if summary else "the server refused part of the prompt"]
    for node, report in _mapping(answer.get("node_errors")).items():
        complaints = _mapping(report).get("errors")
        for complaint in complaints if isinstance(complaints, list) else ():
            text = f"{_text(complaint, 'message')}: {_text(complaint, 'details')}".rstrip(": ")
            lines.append(f"node {node} ({_text(report, 'class_type')}): {text}")
    return "\n".join(_short(printable(line)) for line in lines[:LINES])


def failure(kind: str, data: Mapping[str, Any]) -> str:
    """The message for a failed or interrupted prompt, from the data that ComfyUI sends."""
    where = f"node {_line(data, 'node_id')} ({_line(data, 'node_type')})"
    if kind == "execution_interrupted":
        return f"interrupted in {where}"
    # a node may say more than one line; none of them looks like one of ours
    said = _text(data, "exception_message").strip().split("\n")
    return f"{where} failed with {_line(data, 'exception_type')}: " + "\n  ".join(map(_short, said[:LINES]))


def _line(data: Any, key: str) -> str:
    return printable(_short(_text(data, key)))


def _text(data: Any, key: str) -> str:
    value = _mapping(data).get(key, "")
    return str(value) if isinstance(value, (str, int, float)) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _short(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]} ..."
