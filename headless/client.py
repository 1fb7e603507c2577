"""A client of a running ComfyUI server: its HTTP routes, and a prompt from queueing it to its results."""

import contextlib
import json
import queue
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp

from ..common import limits
from ..common.printable import printable
from .address import Address, shown
from .complaints import refusal
from .errors import LateError, ServerError, SilentError
from .following import Event, follow, silently
from .node_list import sound
from .transport import Answer, Listener, ask

__all__ = ["Client", "Event", "LateError", "Result", "ServerError", "SilentError"]

# a proxy's status codes for a server that does not answer
AWAY = (502, 503, 504)
# a valid prompt id: it becomes part of an address and of messages
ID = re.compile(r"[\w-]{1,100}", re.ASCII)
# the keys by which /view identifies a file
FILE = ("filename", "subfolder", "type")


@dataclass(frozen=True)
class Result:
    """A finished prompt. `outputs`: node id -> the node's `ui` dictionary (lists of values)."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]

    def files(self) -> list[dict[str, str]]:
        """All saved files without duplicates, as mappings (filename, subfolder, type) for `Client.view`."""
        values = (value for output in self.outputs.values() for value in output.values())
        items = (item for value in values if isinstance(value, list) for item in value)
        found = [item for item in items if isinstance(item, dict) and all(isinstance(item.get(k), str) for k in FILE)]
        return list({tuple(item[key] for key in FILE): item for item in found}.values())


class Client:
    """A client of the server at `url` (http://host:port, with name:password@ before the host if it needs them).
    is_running: says whether the server's process is alive, if that is known.

    All methods raise ServerError; its subclass SilentError while nothing answers, and for what is no address.
    """

    def __init__(self, url: str, is_running: Callable[[], bool] = lambda: True):
        address = Address.of(url)
        if address is None:
            raise SilentError(f"{shown(url)} is no address of a server. Addresses are like http://127.0.0.1:8188.")
        self._address = address
        self.url = address.url
        self.is_running = is_running
        self.id = uuid.uuid4().hex

    def object_info(self) -> dict[str, Any]:
        """/object_info without malformed entries: node class -> its inputs in order, outputs and flags."""
        found = sound(self._mapping("/object_info"))
        if not found:
            raise ServerError(f"{self.url} is no ComfyUI: it lists no nodes")
        return found

    def system_stats(self) -> dict[str, Any]:
        return self._mapping("/system_stats")

    def history(self, prompt_id: str, seconds: float | None = None) -> dict[str, Any]:
        """The history's record of a finished prompt; empty while it waits or runs."""
        found = self._mapping(f"/history/{prompt_id}", seconds).get(prompt_id) or {}
        if not isinstance(found, dict):
            raise ServerError(f"{self.url} is no ComfyUI: its record of a prompt is no table")
        return found

    def record(self, prompt_id: str) -> dict[str, Any]:
        """As `history`. Raises ServerError if the server does not know the prompt any more."""
        for _ in range(2):
            # it may finish between the two
            found = self.history(prompt_id, limits.POLL_ANSWER_SECONDS)
            if found or prompt_id in self._queued():
                return found
        raise ServerError(
            f"{self.url} no longer knows prompt {prompt_id}: it was taken back there, or the server was started again. "
            "Run the workflow again"
        )

    def fetch(self, route: str) -> bytes:
        return self._request("GET", route).body

    def view(self, file: dict[str, str]) -> bytes:
        """The bytes of a small file from `Result.files`."""
        return self._request("GET", "/view", params={key: file[key] for key in FILE}).body

    def download(self, file: dict[str, str], to: BinaryIO) -> None:
        """Write a file from `Result.files`, of any size, to `to`."""
        self._request("GET", "/view", params={key: file[key] for key in FILE}, to=to, most=limits.FILE_BYTES)

    def upload_image(self, path: Path) -> str:
        """Upload an image to the server's input folder and return its name for LoadImage."""
        with path.open("rb") as image:
            form = aiohttp.FormData(quote_fields=False)
            form.add_field("image", image, filename=path.name)
            answer = self._read(self._request("POST", "/upload/image", data=form))
        name = answer.get("name") if isinstance(answer, dict) else None
        if not isinstance(name, str):
            raise ServerError(f"{self.url} took {path.name} and does not say under which name")
        return name

    def free(self, unload_models: bool = True, free_memory: bool = True) -> None:
        """Unload all models. free_memory: also clear the cache of results, for which core unloads in any case."""
        self._request("POST", "/free", json={"unload_models": unload_models, "free_memory": free_memory})

    def interrupt(self) -> None:
        self._request("POST", "/interrupt")

    def cancel(self, prompt_id: str, seconds: float | None = None) -> None:
        """Cancel one prompt, waiting or running; others go on."""
        self._request("POST", "/queue", seconds, json={"delete": [prompt_id]})
        self._request("POST", "/interrupt", seconds, json={"prompt_id": prompt_id})

    def get(self, route: str, seconds: float | None = None) -> Any:
        return self._read(self._request("GET", route, seconds))

    def submit(
        self, prompt: dict[str, Any], workflow: dict[str, Any] | None = None, prompt_id: str | None = None
    ) -> str:
        """Queue an API prompt and return its id. A prompt with any invalid output is refused as a whole.

        workflow: the saved graph, which nodes write into the files that they save. prompt_id: the id to use.
        """
        body = {"prompt": prompt, "client_id": self.id, "prompt_id": prompt_id or str(uuid.uuid4())}
        if workflow is not None:
            body["extra_data"] = {"extra_pnginfo": {"workflow": workflow}}
        response = ask(self._address, "POST", "/prompt", json=body)
        answer = self._read(response)
        queued = answer.get("prompt_id") if isinstance(answer, dict) else None
        if isinstance(answer, dict) and (not response.ok or answer.get("node_errors")):
            if response.ok and queued:
                self._request("POST", "/queue", json={"delete": [queued]})
            raise ServerError(refusal(answer, prompt, workflow))
        if not isinstance(queued, str) or not ID.fullmatch(queued):
            raise ServerError(f"{self.url} is no ComfyUI: it took a prompt without giving it an id")
        return queued

    def run(
        self,
        prompt: dict[str, Any],
        on_event: Callable[[Event], None] = silently,
        workflow: dict[str, Any] | None = None,
        say: Callable[[str], None] = silently,
    ) -> Result:
        """Queue an API prompt (see `submit`), pass each event to `on_event`, and return when it has finished, even if
        the connection is lost in between. Ctrl-C cancels it. say: called with messages on what is being waited for."""
        heard: queue.Queue[str | None] = queue.Queue(limits.EVENTS)

        def hear(text: str | None) -> None:
            with contextlib.suppress(queue.Full):
                heard.put_nowait(text)

        prompt_id = str(uuid.uuid4())
        with Listener(self._address, self.id, hear):
            try:
                prompt_id = self.submit(prompt, workflow, prompt_id)
                return Result(prompt_id, follow(self, prompt_id, heard, on_event, say))
            except (KeyboardInterrupt, SystemExit):
                # a terminal's Ctrl-C reaches the server that was started too, which may be gone by now
                with contextlib.suppress(ServerError):
                    self.cancel(prompt_id, limits.CANCEL_SECONDS)
                raise

    def _queued(self) -> set[str]:
        """The ids of all waiting and running prompts."""
        found = self._mapping("/queue", limits.POLL_ANSWER_SECONDS)
        queues = [found.get(name) for name in ("queue_running", "queue_pending")]
        entries = [entry for queue in queues if isinstance(queue, list) for entry in queue]
        return {str(entry[1]) for entry in entries if isinstance(entry, list) and len(entry) > 1}

    def _mapping(self, route: str, seconds: float | None = None) -> dict[str, Any]:
        found = self.get(route, seconds)
        if not isinstance(found, dict):
            raise ServerError(f"{self.url} is no ComfyUI: its answer to {route} is no table")
        return found

    def _request(self, method: str, route: str, seconds: float | None = None, **options: Any) -> Answer:
        response = ask(self._address, method, route, seconds, **options)
        if response.status in AWAY:
            raise SilentError(f"{self.url} does not answer: {response.status} {response.reason}")
        if not response.ok:
            said = printable(response.body[:500].decode(errors="replace").strip())
            raise ServerError(f"{method} {route}: {response.status} {response.reason}. {said}")
        return response

    def _read(self, response: Answer) -> Any:
        try:
            return json.loads(response.body)
        except ValueError as error:
            raise ServerError(f"{self.url} is no ComfyUI: what answers there sends no JSON") from error
        except RecursionError as error:
            raise ServerError(
                f"{self.url} is no ComfyUI: what answers there sends JSON that is nested too deep"
            ) from error
