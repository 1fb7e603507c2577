"""Starting the server: what it refuses, what it says, and that no process is left behind; ComfyUI is a stand-in."""

from pathlib import Path

import psutil
import pytest
from fake_comfyui import FakeComfyUI, running

from x2v_quant.common import limits
from x2v_quant.core.on_path import PACK, StartError, find_comfyui
from x2v_quant.headless import server
from x2v_quant.headless.server import link_folder, serve

DIES = """
print("boom: no such device")
raise SystemExit(3)
"""
ANSWERS = """
import http.server, json, sys
NODES = {nodes!r}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        stats = {{"system": {{"argv": sys.argv}}}}
        self.wfile.write(json.dumps(stats if self.path == "/system_stats" else NODES).encode())
print("IMPORT FAILED: x2v-quant")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(tmp_path):
    """stand_in(source) -> a folder that looks like ComfyUI."""

    def make(source):
        folder = tmp_path / "ComfyUI"
        folder.mkdir()
        (folder / "main.py").write_text(source)
        (folder / "comfyui_version.py").write_text('__version__ = "0.30.0"\n')
        return folder

    return make


def children():
    return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]


def test_a_server_that_dies_is_reported_with_its_log(tmp_path, stand_in):
    with pytest.raises(StartError, match=r"status 3:\nboom: no such device"), serve(tmp_path, comfyui=stand_in(DIES)):
        pass


def test_a_server_that_says_nothing_is_reported_and_stopped(tmp_path, stand_in, monkeypatch):
    monkeypatch.setattr(limits, "START_SECONDS", 5)
    before = children()
    comfyui = stand_in("import time\nprint('importing')\ntime.sleep(600)\n")
    with (
        pytest.raises(StartError, match=r"ComfyUI did not answer within 5 s:\nimporting"),
        serve(tmp_path, comfyui=comfyui),
    ):
        pass
    assert children() == before


def test_a_server_without_our_nodes_is_refused_and_stopped(tmp_path, stand_in):
    before = children()
    comfyui = stand_in(ANSWERS.format(nodes={"X2VLoadDiT": {"input": {}}}))
    message = r"(?s)started without X2VLoadT5, X2VLoadCLIPVision.*IMPORT FAILED"
    with pytest.raises(StartError, match=message), serve(tmp_path, comfyui=comfyui):
        pass
    assert children() == before


def test_a_server_that_has_taken_the_port_is_not_ours(tmp_path, stand_in, monkeypatch):
    """Ours may hang on, as here, or end."""
    before = children()
    comfyui = stand_in("import time\ntime.sleep(600)\n")
    fake = FakeComfyUI()
    fake.answers["/object_info"] = {node: {"input": {}} for node in server.REQUIRED_NODES}
    with running(fake):
        monkeypatch.setattr(server, "free_port", lambda: int(fake.url.rpartition(":")[2]))
        message = f"Another server has taken {fake.url} while ComfyUI started. Run the command again"
        with pytest.raises(StartError, match=message), serve(tmp_path, comfyui=comfyui):
            pass
    assert children() == before


@pytest.mark.parametrize("argv", [None, 7, "main.py", ["main.py", "--base-directory", "elsewhere"]])
def test_nor_is_one_that_says_nothing_of_itself(tmp_path, stand_in, monkeypatch, argv):
    fake = FakeComfyUI()
    fake.answers["/system_stats"] = {"system": {"argv": argv}}
    with running(fake):
        monkeypatch.setattr(server, "free_port", lambda: int(fake.url.rpartition(":")[2]))
        comfyui = stand_in("import time\ntime.sleep(600)\n")
        with pytest.raises(StartError, match="Another server has taken"), serve(tmp_path, comfyui=comfyui):
            pass


def test_the_script_runs_as_by_itself(tmp_path, stand_in):
    """Its name, its folder first on the path, an empty standard input; and its exit status is the process's."""
    comfyui = stand_in(
        "import sys\nassert __name__ == '__main__' and sys.argv[0] == 'main.py' and not sys.stdin.read()\n"
        "import beside\nsys.exit(beside.STATUS)\n"
    )
    (comfyui / "beside.py").write_text("STATUS = 7\n")
    with pytest.raises(StartError, match="ComfyUI ended with status 7:"), serve(tmp_path, comfyui=comfyui):
        pass


def test_the_process_ends_with_the_block_whatever_happens(tmp_path, stand_in):
    comfyui = stand_in(ANSWERS.format(nodes={node: {"input": {}} for node in server.REQUIRED_NODES}))
    with pytest.raises(KeyError), serve(tmp_path, comfyui=comfyui) as running:
        assert running.process.poll() is None
        raise KeyError
    assert running.process.poll() is not None
    assert (tmp_path / "custom_nodes" / "x2v-quant" / "pyproject.toml").exists()


def test_a_pack_is_linked_from_where_the_command_is_typed(tmp_path, stand_in, monkeypatch):
    comfyui = stand_in(ANSWERS.format(nodes={node: {"input": {}} for node in server.REQUIRED_NODES}))
    (tmp_path / "packs" / "other").mkdir(parents=True)
    (tmp_path / "packs" / "other" / "mine.py").touch()
    monkeypatch.chdir(tmp_path / "packs")
    with serve(tmp_path / "base", more_packs=[Path("other"), PACK], comfyui=comfyui):
        linked = tmp_path / "base" / "custom_nodes"
        assert (linked / "other" / "mine.py").exists()
        assert {path.name for path in linked.iterdir()} == {"other", "x2v-quant"}


def test_named_comfyui_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(tmp_path))
    with pytest.raises(StartError, match="set COMFYUI_PATH"):
        find_comfyui()


def test_named_comfyui_wins(stand_in, monkeypatch):
    folder = stand_in("")
    monkeypatch.setenv("COMFYUI_PATH", str(folder))
    assert find_comfyui() == folder


def test_a_link_to_a_folder_that_is_gone_is_replaced(tmp_path):
    old, new, link = (tmp_path / name for name in ("old", "new", "links/pack"))
    for folder in (old, new):
        folder.mkdir()
        link_folder(folder, link)
        if folder is old:
            old.rmdir()
    assert link.resolve() == new
