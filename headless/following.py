"""Follows a queued prompt to its end: live events, and the history, which has the result even if the connection is
lost."""

import json
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..common import limits
from .complaints import failure
from .errors import ServerError, SilentError
from .transport import TURN

FAILURES = ("execution_error", "execution_interrupted")


@dataclass(frozen=True)
class Event:
    """A websocket message about our prompt. `type`: ComfyUI's name ("progress", "executing", "executed" ...)."""

    type: str
    data: dict[str, Any]

    @property
    def ends(self) -> bool:
        """ "execution_success" comes before the history is written, this after it."""
        return self.type == "executing" and self.data.get("node") is None


def silently(_) -> None:
    pass


def follow(
    client: Any,
    prompt_id: str,
    heard: "queue.Queue[str | None]",
    on_event: Callable[[Event], None],
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Wait until a prompt has finished and return its nodes' `ui` dictionaries. heard: messages from a `Listener`.

    Raises ServerError if it fails or is cancelled, or nothing has answered for LOST_SECONDS.
    """
    patience = Patience(client, prompt_id, say)
    last = time.monotonic()
    while True:
        text = _next(heard)
        event = None if text is None else read(text, prompt_id)
        if event is not None:
            last = time.monotonic()
            on_event(event)
            if event.type in FAILURES:
                raise ServerError(failure(event.type, event.data))
        cut = text is None
        if cut or (event is not None and event.ends) or time.monotonic() - last > limits.POLL_SECONDS:
            last = time.monotonic()
            record = patience.record()
            if record:
                return outputs(record)


def _next(heard: "queue.Queue[str | None]") -> str | None:
    """The next message; "" after a while without one, None if the connection was cut."""
    try:
        return heard.get(timeout=min(TURN, limits.POLL_SECONDS))
    except queue.Empty:
        return ""


def read(text: str, prompt_id: str) -> Event | None:
    """Parse a message; None if it is no event of this prompt."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    kind, data = (found.get("type"), found.get("data")) if isinstance(found, dict) else (None, None)
    ours = isinstance(kind, str) and isinstance(data, dict) and data.get("prompt_id") == prompt_id
    return Event(kind, data) if ours else None


def outputs(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The nodes' outputs in the history's record of a prompt. Raises ServerError if it failed."""
    status = record.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and message[0] in FAILURES:
            raise ServerError(failure(*message))
    found = record.get("outputs")
    if not isinstance(found, dict) or not all(isinstance(shown, dict) for shown in found.values()):
        raise ServerError("the server's history has no outputs of the prompt: it is no ComfyUI")
    return found


class Patience:
    """Polls a prompt's record, and tolerates missing answers for LOST_SECONDS."""

    def __init__(self, client: Any, prompt_id: str, say: Callable[[str], None]):
        self._client, self._prompt_id, self._say = client, prompt_id, say
        self._answered = time.monotonic()
        self._told = False

    def record(self) -> dict[str, Any]:
        """The prompt's record; empty while it waits or runs, or nothing answers."""
        try:
            found = self._client.record(self._prompt_id)
        except SilentError as error:
            self._bear(error)
            return {}
        self._answered, self._told = time.monotonic(), False
        return found

    def _bear(self, error: SilentError) -> None:
        if not self._client.is_running():
            raise SilentError("the server ended before the prompt had finished; its log says why") from error
        if time.monotonic() - self._answered > limits.LOST_SECONDS:
            raise SilentError(
                f"{self._client.url} has not answered for {limits.LOST_SECONDS:g} s. The prompt may run on there: when "
                f"it answers again, {self._client.url}/history/{self._prompt_id} says what was saved, and "
                f"{self._client.url}/view?filename=NAME gives the file"
            ) from error
        if not self._told:
            self._say(
                f"{self._client.url} does not answer. The prompt {self._prompt_id} may still run there: trying again "
                f"for {limits.LOST_SECONDS:g} s"
            )
        self._told = True
