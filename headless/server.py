"""Starts the real ComfyUI server with only this pack, on a free port, as a context manager that always stops it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..common import limits
from ..common.printable import printable
from ..core.on_path import PACK, StartError, find_comfyui
from .client import Client, ServerError

PACK_NAME = "x2v-quant"
TETHERED = PACK / "headless" / "tethered.py"
LOG_TAIL = 30  # lines
# Every node of the pack. One that fails to import is only a line in ComfyUI's log: the node list proves what is there.
REQUIRED_NODES = tuple(json.loads((PACK / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8")))
# What a copy of the pack leaves out, where it cannot be linked.
NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "tests", "benchmarks")


@dataclass(frozen=True)
class Server:
    """A running server. `base`: folder with models, input, output, user and custom_nodes. `log`: its output so far."""

    url: str
    base: Path
    log: Path
    process: subprocess.Popen
    cpu: bool

    @property
    def client(self) -> Client:
        return Client(self.url, self.is_running)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def log_tail(self, lines: int = LOG_TAIL) -> str:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(printable(line) for line in text.splitlines()[-lines:])


@contextmanager
def serve(
    base: Path,
    cpu: bool = False,
    more_packs: Sequence[Path] = (),
    comfyui: Path | None = None,
    options: Sequence[str] = (),
    temporary: bool = False,
) -> Iterator[Server]:
    """Start main.py with the base directory `base` and yield once our nodes answer. The process ends with the context,
    however that ends.

    cpu: do not use a GPU. more_packs: folders of other node packs to load. options: further options of main.py.
    temporary: remove `base` if this process is killed. Raises StartError.
    """
    base = base.resolve()
    cpu = cpu or not _has_gpu()
    packs = {PACK_NAME: PACK, **{folder.name: folder for folder in map(Path.resolve, more_packs) if folder != PACK}}
    for name, folder in packs.items():
        link_folder(folder, base / "custom_nodes" / name)
    port, mark = free_port(), f"started-by-{uuid.uuid4().hex}"
    log = base / "server.log"
    tether = sys.executable, "-u", str(TETHERED), str(base) if temporary else ""
    command = [
        *(*tether, "main.py", "--base-directory", str(base), "--port", str(port)),
        *("--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"),
        *options,
        *(["--cpu"] if cpu else []),
        # the mark names no pack: it tells this server from one that has got its port
        *("--disable-all-custom-nodes", "--whitelist-custom-nodes", *packs, mark),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=comfyui or find_comfyui(),
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", base, log, process, cpu)
    try:
        wait_until_ready(server, mark)
        yield server
    finally:
        stop(process)


def _has_gpu() -> bool:
    import torch  # takes seconds, which a command with --cpu does not wait

    return torch.cuda.is_available()


def wait_until_ready(server: Server, mark: str) -> None:
    deadline = time.monotonic() + limits.START_SECONDS
    while (stats := _stats(server.client)) is None:
        if not server.is_running():
            raise StartError(f"ComfyUI ended with status {server.process.returncode}:\n{server.log_tail()}")
        if time.monotonic() > deadline:
            raise StartError(f"ComfyUI did not answer within {limits.START_SECONDS} s:\n{server.log_tail()}")
        time.sleep(0.2)
    if mark not in str(stats):  # among the arguments it was started with
        raise StartError(f"Another server has taken {server.url} while ComfyUI started. Run the command again.")
    nodes = server.client.object_info()
    missing = [node for node in REQUIRED_NODES if node not in nodes]
    if missing:
        raise StartError(f"ComfyUI started without {', '.join(missing)}:\n{server.log_tail(80)}")


def _stats(client: Client) -> dict[str, Any] | None:
    """The server's /system_stats, None while nothing answers."""
    try:
        return client.system_stats()
    except ServerError:
        return None


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(limits.STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdin.close()


def link_folder(folder: Path, link: Path) -> None:
    """Make `link` a symbolic link to `folder`; on Windows a junction, which needs no privilege; else a copy."""
    link.parent.mkdir(parents=True, exist_ok=True)
    if link.exists():
        return
    if os.name == "nt":
        made = subprocess.run(["cmd", "/c", "mklink", "/J", str(link), str(folder)], capture_output=True)
        if made.returncode:
            shutil.copytree(folder, link, ignore=NOT_COPIED)
    else:
        link.unlink(missing_ok=True)  # a link to a folder that is gone
        link.symlink_to(folder, target_is_directory=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
