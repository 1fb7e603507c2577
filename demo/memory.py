"""The most memory a server used while a block of code ran."""

import threading

import psutil

from ..headless.server import Server

INTERVAL = 0.2  # seconds


class PeakMemory:
    """Context manager. `process`: resident bytes of the server; `gpu`: bytes in use on its first GPU, or 0."""

    def __init__(self, server: Server):
        self.process = 0
        self.gpu = 0
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process(self._server.process.pid)
        client = self._server.client
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            self.process = max(self.process, process.memory_info().rss)
            if not self._server.cpu:
                device = client.system_stats()["devices"][0]
                self.gpu = max(self.gpu, device["vram_total"] - device["vram_free"])
            if self._over.wait(INTERVAL):
                return
