"""The error for a workflow that is refused, and parts of its messages."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ..common.printable import PrintableError

NAME = 200  # characters of a name that is suggested


class WorkflowError(PrintableError, ValueError):
    """A workflow or an override that cannot become a prompt. The message names node and remedy."""


def called(node: Mapping[str, Any], path: str = "") -> str:
    """How messages call a node of a saved graph. path: of its subgraph."""
    return f"node {path}{node['id']} ({node['type']})"


def near(name: str, known: Iterable[str]) -> str:
    """The question at the end of a message: which known name `name` may mean."""
    # comparing takes time proportional to the product of the lengths
    by_case = {word.lower(): word for word in sorted(known) if len(word) <= NAME}
    found = [by_case[word] for word in get_close_matches(name.lower(), by_case, cutoff=0.7)]
    return f". Did you mean {' or '.join(map(repr, found))}?" if found else ""
