"""What a workflow is refused with."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ..common.printable import PrintableError

NAME = 200  # characters of a name that is suggested


class WorkflowError(PrintableError, ValueError):
    """A workflow or an override that cannot become a prompt; the message names the node and the remedy."""


def called(node: Mapping[str, Any], path: str = "") -> str:
    """A node of a saved graph in a message. path: of the subgraph that it is in."""
    return f"node {path}{node['id']} ({node['type']})"


def near(name: str, known: Iterable[str]) -> str:
    """A question that ends a refusal: what `name` may have meant."""
    # comparing costs the product of two lengths
    by_case = {word.lower(): word for word in sorted(known) if len(word) <= NAME}
    found = [by_case[word] for word in get_close_matches(name.lower(), by_case, cutoff=0.7)]
    return f". Did you mean {' or '.join(map(repr, found))}?" if found else ""
