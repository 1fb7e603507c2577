"""A server in this process that answers as ComfyUI does, but for what a test has it do: bounded, on 127.0.0.1."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

from aiohttp import web

PROMPT = {"1": {"class_type": "Save", "inputs": {}}}
OUTPUTS = {"1": {"text": ["done"]}}
FINISHED = {"outputs": OUTPUTS, "status": {"status_str": "success", "completed": True, "messages": []}}


class FakeComfyUI:
    """`seen`: (method, path) of every request. `answers`: path -> what is sent in place of the usual answer: JSON, or a
    coroutine that takes the request. `follow`: what the websocket does."""

    def __init__(self):
        self.seen: list[tuple[str, str]] = []
        self.answers: dict[str, Any] = {}
        self.finished = False
        self.running: set[str] = set()
        self.prompt_id = ""
        self.follow: Callable = self._finish
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path))
        given = self.answers.get(request.path, self._usual)
        return await given(request) if callable(given) else web.json_response(given)

    async def _usual(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/ws":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            await self.follow(socket)
            return socket
        if request.path == "/prompt":
            self.prompt_id = (await request.json())["prompt_id"]
            self.running.add(self.prompt_id)
            return web.json_response({"prompt_id": self.prompt_id})
        if request.path.startswith("/history/"):
            return web.json_response({self.prompt_id: FINISHED} if self.finished else {})
        if request.path == "/queue" and request.method == "GET":
            return web.json_response({"queue_running": [[0, one, {}] for one in self.running], "queue_pending": []})
        return web.json_response({"system": {"argv": []}} if request.path == "/system_stats" else {})

    async def queued(self) -> None:
        """Until a prompt has come."""
        while not self.running:
            await asyncio.sleep(0.01)

    def end(self) -> None:
        self.finished = True
        self.running.clear()

    async def _finish(self, socket: web.WebSocketResponse) -> None:
        await self.queued()
        self.end()
        await socket.send_json({"type": "executing", "data": {"node": None, "prompt_id": self.prompt_id}})
        await asyncio.sleep(10)


@contextmanager
def running(fake: FakeComfyUI):
    """Serves it in a thread while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", fake.handle)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    async def stop() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await runner.cleanup()

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
