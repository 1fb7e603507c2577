"""What becomes of the files that a server saved."""

import os

import pytest
from aiohttp import web
from fake_comfyui import FakeComfyUI, running

from x2v_quant.headless.client import Client, ServerError
from x2v_quant.headless.run import keep


@pytest.fixture
def fetched(tmp_path):
    """fetched(file name, its subfolder) -> its path; the server has every file."""

    async def view(request):
        return web.Response(body=b"theirs")

    fake = FakeComfyUI()
    fake.answers["/view"] = view
    with running(fake):
        yield lambda name, subfolder="": keep(
            Client(fake.url), {"filename": name, "subfolder": subfolder, "type": "output"}, tmp_path / "output", False
        )


NAMES = [
    *("", ".", "..", ".hidden", "..."),
    *("/etc/passwd", "a/b", "\\\\host\\share", "a\\b", "C:\\a", "C:a", "a.png:stream", "a::$DATA"),
    *("CON", "con.png", "NUL", "nul.tar.gz", "COM1", "lpt9.txt", "COM\u00b2", "CONOUT$", "AUX ", "aux .png"),
    *("a.", "a ", "a.png.", "a. .", " .."),
    *("a\nb", "a\0b", "a\x1b[2J", "\u202egnp.exe", "a\u2028b", "\ud800", "a?", "a*", 'a"', "a|b", "<a>"),
    "a" * 256,
    "\u00e4" * 128,
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_is_none_everywhere_is_not_fetched(name, fetched, tmp_path):
    with pytest.raises(ServerError, match=r"the server saved a file as .*, which is not fetched: "):
        fetched(name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "subfolder", ["..", "a/../../b", "/etc", "a//b", "a/", ".git", "a/.git/hooks", "..\\..", "C:\\", "nul", "a/b."]
)
def test_nor_is_a_folder_of_such_a_name(subfolder, fetched, tmp_path):
    with pytest.raises(ServerError, match=r"the server saved a file as .*, which is not fetched: "):
        fetched("a.png", subfolder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("subfolder", ["", "run", "run/1", "run\\1"])
@pytest.mark.parametrize("name", ["a.png", "a b (1).mp4", "\u91cf\u5316.png", "a..b.png", "console.png"])
def test_other_files_are(name, subfolder, fetched, tmp_path):
    place = fetched(name, subfolder)
    assert place == tmp_path.joinpath(
        "output", *filter(None, subfolder.split("\\" if "\\" in subfolder else "/")), name
    )
    assert place.read_bytes() == b"theirs"


def test_a_file_that_is_there_stays(fetched, tmp_path):
    first, second, third = fetched("a.png"), fetched("a.png"), fetched("a.png")
    assert [path.name for path in (first, second, third)] == ["a.png", "a-2.png", "a-3.png"]
    assert sorted(path.name for path in first.parent.iterdir()) == ["a-2.png", "a-3.png", "a.png"]


@pytest.mark.skipif(os.name == "nt", reason="links take a privilege there")
def test_no_link_is_followed(fetched, tmp_path):
    """Of a file, which stays; of a folder, which leads elsewhere."""
    output = tmp_path / "output"
    output.mkdir()
    (output / "a.png").symlink_to(tmp_path / "mine")
    assert fetched("a.png").name == "a-2.png"
    assert not (tmp_path / "mine").exists()
    (output / "run").symlink_to(tmp_path)
    with pytest.raises(ServerError, match=r"the server saved a file outside its output folder, .*: it is not fetched"):
        fetched("b.png", "run")
    assert not (tmp_path / "b.png").exists()
