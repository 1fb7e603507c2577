"""Texts on a node itself: what it has loaded, and the sentence of an error, which ComfyUI's own overlay leaves out."""

import functools
import re
from collections.abc import Callable

from comfy_execution.utils import get_executing_context
from server import PromptServer

from ..common.printable import PrintableError

# nodes that show an error, until the next run
FAILED: set[str] = set()
NOTHING = " "  # the page ignores a text without characters
# between two lines of a paragraph. Nodes 2.0 draws Markdown, where the line before it needs two spaces at its end
LINE_BREAK = re.compile(r"(?<=\S)\n(?=[^\n-])")


def show(text: str, node: str | None = None) -> None:
    """Write `text` on a node, by default the one that is running, in the page that queued it."""
    running = get_executing_context()
    if running is not None:
        drawn = LINE_BREAK.sub("  \n", text)
        PromptServer.instance.send_progress_text(drawn, node or running.node_id, PromptServer.instance.client_id)


def error_on_node(execute: Callable) -> Callable:
    """Decorator below @classmethod: an error of the pack's is shown on the node too."""

    @functools.wraps(execute)
    def shown(cls, *args, **kwargs):
        _forget()
        try:
            return execute(cls, *args, **kwargs)
        except PrintableError as error:
            FAILED.add(_running())
            show(str(error))
            raise

    return shown


def forgets_error(fingerprint: Callable) -> Callable:
    """Decorator of fingerprint_inputs below @classmethod: core calls it in every run, of a node too whose result it has
    still, and which does not execute then."""

    @functools.wraps(fingerprint)
    def asked(cls, *args, **kwargs):
        _forget()
        return fingerprint(cls, *args, **kwargs)

    return asked


def _running() -> str | None:
    context = get_executing_context()
    return context.node_id if context else None


def _forget() -> None:
    node = _running()
    if node in FAILED:
        FAILED.discard(node)
        show(NOTHING)
