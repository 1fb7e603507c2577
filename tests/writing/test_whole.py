"""A file is there as a whole or not at all, and has one writer at a time."""

import errno
import os
import signal
import subprocess
import sys
import threading

import pytest

from x2v_quant.writing import WriteError, made_folder, only_writer, whole_file

HOLDS = """
import sys, time
from pathlib import Path
from x2v_quant.writing import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"theirs")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process, in the midst of writing the file "out"; it goes on once its input is closed."""
    command = [sys.executable, "-c", HOLDS, str(tmp_path / "out")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_name_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "out"
    with whole_file(path) as file:
        file.write(b"mine")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"mine" and names(path.parent) == ["out"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError(), OSError(errno.ENOSPC, "No space left on device")]
)
def test_an_error_leaves_what_was_there(error, tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with (
        pytest.raises(WriteError if isinstance(error, OSError) else type(error)),
        whole_file(path, overwrite=True) as file,
    ):
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"before" and names(tmp_path) == ["out"]


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path):
    path = tmp_path / "out"
    path.write_bytes(b"before")
    with pytest.raises(WriteError, match="is there already"), whole_file(path):
        pytest.fail("nothing is to be written")
    with whole_file(path, overwrite=True) as file:
        file.write(b"after")
    assert path.read_bytes() == b"after"


def test_another_process_is_writing(other, tmp_path):
    told = pytest.raises(WriteError, match=r"is being written by another run or server\. Wait until it is done")
    with told, whole_file(tmp_path / "out"):
        pytest.fail("nothing is to be written")
    with whole_file(tmp_path / "another") as file:
        file.write(b"mine")
    other.stdin.close()
    other.wait()
    assert (tmp_path / "out").read_bytes() == b"theirs" and names(tmp_path) == ["another", "out"]


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_what_a_killed_process_left_is_in_nobodys_way(other, tmp_path):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert "out" not in names(tmp_path) and names(tmp_path)
    with whole_file(tmp_path / "out") as file:
        file.write(b"mine")
    assert (tmp_path / "out").read_bytes() == b"mine" and names(tmp_path) == ["out"]


def test_threads_are_kept_apart_too(tmp_path):
    """As many as there are write at once: each file is one of theirs, and those that were refused were told."""
    path, told, start = tmp_path / "out", [], threading.Barrier(8)

    def write(number):
        start.wait()
        for _ in range(50):
            try:
                with whole_file(path, overwrite=True) as file:
                    for _ in range(10):
                        file.write(bytes([number]) * 1000)
            except WriteError as error:
                told.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    data = path.read_bytes()
    assert len(data) == 10_000 and len(set(data)) == 1 and names(tmp_path) == ["out"]
    assert all("is being written by another" in text for text in told)


@pytest.mark.skipif(os.name == "nt", reason="links take a right on Windows")
def test_planted_links_are_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    for ending in (".partial", ".partial.lock"):
        (tmp_path / f"out{ending}").symlink_to(victim)
    with whole_file(tmp_path / "out") as file:
        file.write(b"mine")
    assert victim.read_bytes() == b"theirs" and names(tmp_path) == ["out", "victim"]


@pytest.mark.skipif(os.name == "nt", reason="links take a right on Windows")
def test_a_link_that_leads_to_itself(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(WriteError, match="is there already"), whole_file(loop):
        pass
    with pytest.raises(WriteError, match="a link in its path leads back to itself"), whole_file(loop / "a" / "out"):
        pass


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "mine").touch()
    with pytest.raises(WriteError, match=r"mine is no folder\. Check the path"), whole_file(tmp_path / "mine" / "out"):
        pass


def test_the_lock_is_free_afterwards(tmp_path):
    for _ in range(3):
        with only_writer(tmp_path / "out"), pytest.raises(WriteError), only_writer(tmp_path / "out"):
            pass
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit of a process")
def test_a_disk_that_takes_no_file_as_large(tmp_path):
    """As FAT does from 4 GB on."""
    code = (
        "import resource, signal; from pathlib import Path; from x2v_quant.writing import WriteError, whole_file\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    with whole_file(Path('out')) as file: file.write(bytes(5000))\n"
        "except WriteError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said == "out is larger than its disk takes files (FAT: 4 GB). Choose another disk, or write shards.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_made_or_refused(tmp_path):
    assert made_folder(tmp_path / "a" / "b").is_dir() and made_folder(tmp_path / "a").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match=r"file is there already and is no folder\. Choose another one"):
        made_folder(tmp_path / "file")
    with pytest.raises(WriteError, match=r"cannot be written: .*file is no folder\. Check the path"):
        made_folder(tmp_path / "file" / "b")
    with pytest.raises(WriteError, match="'NUL' is not a name"):
        made_folder(tmp_path / "NUL" / "b")
