"""What a workflow is refused with."""

from collections.abc import Mapping
from typing import Any

from ..printable import PrintableError


class WorkflowError(PrintableError, ValueError):
    """A workflow or an override that cannot become a prompt; the message names the node and the remedy."""


def called(node: Mapping[str, Any], path: str = "") -> str:
    """A node of a saved graph in a message. path: of the subgraph that it is in."""
    return f"node {path}{node['id']} ({node['type']})"
