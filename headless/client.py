"""A client of a running ComfyUI server: its HTTP routes and the progress it reports over the websocket."""

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import requests

from .. import limits

FAILURES = ("execution_error", "execution_interrupted")


class ServerError(RuntimeError):
    """What the server, or a node in it, refused or failed at; the message names node, type and reason."""


@dataclass(frozen=True)
class Event:
    """One websocket message about our prompt: `type` as ComfyUI names it ("progress", "executing", "executed" ...)."""

    type: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """A finished prompt: `outputs` maps a node id to what the node showed (its `ui` dictionary, lists of values)."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]]

    def files(self) -> list[dict[str, str]]:
        """Every saved file, as the mapping (filename, subfolder, type) that `Client.view` takes."""
        values = (value for output in self.outputs.values() for value in output.values())
        items = (item for value in values if isinstance(value, list) for item in value)
        return [item for item in items if isinstance(item, dict) and "filename" in item]


class Client:
    """Talks to the server at `url` (http://host:port). Raises ServerError, also if nothing or no ComfyUI answers."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.id = uuid.uuid4().hex
        self._http = requests.Session()

    def object_info(self) -> dict[str, Any]:
        """Every registered node: its inputs in order, outputs and flags."""
        return self.get("/object_info")

    def system_stats(self) -> dict[str, Any]:
        return self.get("/system_stats")

    def history(self, prompt_id: str) -> dict[str, Any]:
        """The record of a finished prompt; empty while it waits or runs."""
        return self.get(f"/history/{prompt_id}").get(prompt_id, {})

    def view(self, file: dict[str, str]) -> bytes:
        """The bytes of a file as `Result.files` lists it."""
        keys = {key: file[key] for key in ("filename", "subfolder", "type")}
        return self._request("GET", "/view", params=keys).content

    def upload_image(self, path: Path) -> str:
        """Puts an image into the server's input folder and returns the name LoadImage knows it by."""
        with path.open("rb") as image:
            return self._request("POST", "/upload/image", files={"image": (path.name, image)}).json()["name"]

    def free(self, unload_models: bool = True, free_memory: bool = True) -> None:
        """Unloads every model. free_memory: clears the cache of results too; core unloads for it in any case."""
        self._request("POST", "/free", json={"unload_models": unload_models, "free_memory": free_memory})

    def interrupt(self) -> None:
        self._request("POST", "/interrupt")

    def cancel(self, prompt_id: str) -> None:
        """Takes one prompt back, waiting or running; others go on."""
        self._request("POST", "/queue", json={"delete": [prompt_id]})
        self._request("POST", "/interrupt", json={"prompt_id": prompt_id})

    def get(self, route: str) -> Any:
        return self._read(self._request("GET", route))

    def submit(self, prompt: dict[str, Any]) -> str:
        """Queues an API prompt and returns its id. A prompt of which any output is invalid is refused as a whole."""
        response = self._send("POST", "/prompt", json={"prompt": prompt, "client_id": self.id})
        answer = self._read(response)
        if not response.ok or answer.get("node_errors"):
            if response.ok:
                self._request("POST", "/queue", json={"delete": [answer["prompt_id"]]})
            raise ServerError(refusal(answer))
        return answer["prompt_id"]

    def run(self, prompt: dict[str, Any], on_event: Callable[[Event], None] | None = None) -> Result:
        """Queues an API prompt, passes on each event, and returns when it has finished. Ctrl-C takes it back."""
        try:
            prompt_id = asyncio.run(self._follow(prompt, on_event or (lambda event: None)))
        except aiohttp.ClientError as error:
            raise ServerError(f"{self.url}/ws does not answer as ComfyUI does: {error}") from error
        return Result(prompt_id, self.history(prompt_id)["outputs"])

    async def _follow(self, prompt: dict[str, Any], on_event: Callable[[Event], None]) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{self.url}/ws", params={"clientId": self.id}, max_msg_size=0) as socket,
        ):
            prompt_id = self.submit(prompt)
            try:
                return await self._wait(socket, prompt_id, on_event)
            except (asyncio.CancelledError, KeyboardInterrupt):
                # a terminal's Ctrl-C reaches the server that was started too, which may be gone by now
                with contextlib.suppress(ServerError):
                    self.cancel(prompt_id)
                raise

    async def _wait(
        self, socket: aiohttp.ClientWebSocketResponse, prompt_id: str, on_event: Callable[[Event], None]
    ) -> str:
        async for message in socket:
            if message.type != aiohttp.WSMsgType.TEXT:
                continue  # previews are binary
            event = Event(**{key: message.json()[key] for key in ("type", "data")})
            if event.data.get("prompt_id") != prompt_id:
                continue
            on_event(event)
            if event.type in FAILURES:
                raise ServerError(failure(event))
            # "execution_success" comes before the history is written, this after it
            if event.type == "executing" and event.data["node"] is None:
                return prompt_id

        raise ServerError("the server closed the connection before the prompt had finished; its log says why")

    def _request(self, method: str, route: str, **options: Any) -> requests.Response:
        response = self._send(method, route, **options)
        if not response.ok:
            raise ServerError(f"{method} {route}: {response.status_code} {response.reason}. {response.text[:500]}")
        return response

    def _send(self, method: str, route: str, **options: Any) -> requests.Response:
        try:
            return self._http.request(
                method, self.url + route, timeout=(limits.CONNECT_SECONDS, limits.ANSWER_SECONDS), **options
            )
        except requests.RequestException as error:
            raise ServerError(f"{self.url} does not answer: {error}") from error

    def _read(self, response: requests.Response) -> Any:
        try:
            return response.json()
        except ValueError as error:
            raise ServerError(f"{self.url} is no ComfyUI: what answers there sends no JSON") from error


def refusal(answer: dict[str, Any]) -> str:
    """A refused prompt in words: one line per complaint, with node id and type."""
    error = answer.get("error") or {}
    summary = error if isinstance(error, str) else f"{error.get('message', '')} {error.get('details', '')}".strip()
    lines = [f"the server refused the prompt: {summary}" if summary else "the server refused part of the prompt"]
    for node, report in (answer.get("node_errors") or {}).items():
        for complaint in report["errors"]:
            text = f"{complaint['message']}: {complaint['details']}".rstrip(": ")
            lines.append(f"node {node} ({report['class_type']}): {text}")
    return "\n".join(lines)


def failure(event: Event) -> str:
    """A failed or interrupted prompt in words."""
    where = f"node {event.data['node_id']} ({event.data['node_type']})"
    if event.type == "execution_interrupted":
        return f"interrupted in {where}"
    return f"{where} failed with {event.data['exception_type']}: {event.data['exception_message'].strip()}"
