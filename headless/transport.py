"""HTTP and websocket requests to an untrusted server: no redirects, limits on sizes and seconds.

Everything runs in one background thread, so that Ctrl-C reaches the waiting thread.
"""

import asyncio
import concurrent.futures
import functools
import math
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, BinaryIO

import aiohttp

from ..common import limits
from ..common.printable import printable
from ..common.sizes import amount
from .address import Address
from .errors import LateError, ServerError, SilentError

PIECE = 1 << 16  # bytes
TURN = 0.5  # seconds
LATE = "nothing came in time"


@dataclass(frozen=True)
class Answer:
    """A server's answer. `body`: empty if it was written to a file."""

    status: int
    reason: str
    body: bytes

    @property
    def ok(self) -> bool:
        return self.status < 400


def ask(
    address: Address,
    method: str,
    route: str,
    seconds: float | None = None,
    most: int | None = None,
    to: BinaryIO | None = None,
    **options: Any,
) -> Answer:
    """Send a request and return the answer. seconds: time limit. most: limit on the bytes of the body. Defaults are in
    limits.py. to: file for the body of a successful answer; then the time limit is on silence only.

    Raises SilentError, or ServerError for a malformed answer.
    """
    seconds = limits.ANSWER_SECONDS if seconds is None else seconds
    most = limits.ANSWER_BYTES if most is None else most
    try:
        return _wait(_ask(address, method, route, seconds, most, to, options))
    except asyncio.TimeoutError as error:
        raise LateError(f"{address.url} did not answer {method} {route} within {seconds:g} s") from error
    except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
        raise SilentError(f"{address.url} does not answer: {error}") from error
    except (aiohttp.ClientError, ValueError) as error:
        said = printable(str(error))  # it quotes the answer
        raise ServerError(f"{address.url} does not answer {method} {route} as a web server does: {said}") from error


class Listener:
    """The websocket of one client id, as a context manager; reconnects when the connection is cut. hear: called in
    another thread with each text, and with None when the connection is cut. Raises ServerError if the first connection
    fails."""

    def __init__(self, address: Address, client_id: str, hear: Callable[[str | None], None]):
        self._address, self._id, self._hear = address, client_id, hear
        self._opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._task: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> "Listener":
        self._task = asyncio.run_coroutine_threadsafe(self._listen(), _loop())
        try:
            _result(self._opened, limits.ANSWER_SECONDS)
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            self._task.cancel()
            raise ServerError(f"{self._address.url}/ws does not answer as ComfyUI does: {error or LATE}") from error
        except BaseException:
            self._task.cancel()
            raise
        return self

    def __exit__(self, *_) -> None:
        self._task.cancel()

    async def _listen(self) -> None:
        try:
            await self._once()
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError, ServerError) as error:
            if not self._opened.done():
                self._opened.set_exception(error)
                return
        while True:
            self._hear(None)
            await asyncio.sleep(limits.RECONNECT_SECONDS)
            try:
                await self._once()
            except (aiohttp.ClientError, asyncio.TimeoutError, ServerError):
                continue

    async def _once(self) -> None:
        """Hear one connection until it ends."""
        timeout = aiohttp.ClientTimeout(total=None, connect=limits.CONNECT_SECONDS)
        async with (
            _session(self._address, timeout) as session,
            session.ws_connect(
                f"{self._address.url}/ws",
                params={"clientId": self._id},
                max_msg_size=limits.MESSAGE_BYTES,
                heartbeat=limits.HEARTBEAT_SECONDS,
            ) as socket,
        ):
            if not self._opened.done():
                self._opened.set_result(None)
            async for message in socket:
                # previews are binary
                if message.type == aiohttp.WSMsgType.TEXT and len(message.data) <= limits.EVENT_CHARACTERS:
                    self._hear(message.data)


async def _ask(address, method, route, seconds, most, to, options) -> Answer:
    timeout = aiohttp.ClientTimeout(
        total=limits.TRANSFER_SECONDS if to else seconds, sock_connect=limits.CONNECT_SECONDS, sock_read=seconds
    )
    async with (
        _session(address, timeout) as session,
        session.request(method, address.url + route, allow_redirects=False, **options) as response,
    ):
        if 300 <= response.status < 400:
            raise ServerError(_elsewhere(address, response))
        body = bytearray()
        keep = to.write if to is not None and response.status < 400 else body.extend
        size = 0
        async for piece in response.content.iter_chunked(PIECE):
            size += len(piece)
            if size > most:
                raise ServerError(f"{address.url} sends more than {amount(most)} for {method} {route}: not taken")
            keep(piece)
        return Answer(response.status, response.reason or "", bytes(body))


def _session(address: Address, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    """A session that follows no redirects, which websocket requests otherwise do."""

    async def refuse(session, context, told) -> None:
        raise ServerError(_elsewhere(address, told.response))

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(refuse)
    headers = {"Authorization": address.login} if address.login else {}
    return aiohttp.ClientSession(headers=headers, timeout=timeout, trace_configs=[tracing])


def _elsewhere(address: Address, response: aiohttp.ClientResponse) -> str:
    """The error for a redirect; its target is shown without secrets."""
    target = Address.of(response.headers.get("Location", ""))
    where = f" to {target.url}" if target else ""
    return (
        f"{address.url} sends on{where} ({response.status}), which is not followed: give --server the address of the "
        "ComfyUI itself"
    )


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="x2v-quant client", daemon=True).start()
    return loop


def _wait(work: Coroutine) -> Any:
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return _result(future)
    except BaseException:
        future.cancel()
        raise


def _result(future: concurrent.futures.Future, seconds: float = math.inf) -> Any:
    """The future's result, waited for in short intervals: Windows delivers Ctrl-C only between them."""
    deadline = time.monotonic() + seconds
    while not concurrent.futures.wait([future], TURN).done:
        if time.monotonic() > deadline:
            raise asyncio.TimeoutError
    return future.result()
