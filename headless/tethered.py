"""Runs a script in this process, which ends when the one that started it does, however that ended:
`python tethered.py FOLDER main.py ARGUMENTS`, with a pipe as standard input that nobody writes to. FOLDER is
removed if it ends so; "" is none. A file of its own to run, no part of the package: nothing but the standard library
is imported."""

import os
import runpy
import shutil
import sys
import threading


def _end_with(pipe: int, folder: str) -> None:
    """The pipe ends with the process that holds its other end: on every system, and after SIGKILL too."""
    while os.read(pipe, 1):
        pass
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    pipe = os.dup(0)
    # neither the script nor what it starts has the pipe
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    threading.Thread(target=_end_with, args=(pipe, sys.argv[1]), daemon=True).start()
    del sys.argv[:2]
    # as Python sets it for the script
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
