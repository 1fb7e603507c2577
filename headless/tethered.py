"""Runs a script in a process that ends with its parent, however that ends: `python tethered.py FOLDER main.py
ARGUMENTS`, with a pipe as standard input to which nobody writes. FOLDER is removed when the parent ends; "" is none.
It is run as a file, not as part of the package, and imports only the standard library."""

import os
import runpy
import shutil
import sys
import threading


def _end_with(pipe: int, folder: str) -> None:
    """End this process when the pipe closes, which happens when the parent ends: on every system, also by SIGKILL."""
    while os.read(pipe, 1):
        pass
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    pipe = os.dup(0)
    # the pipe is not inherited by the script or its children
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    threading.Thread(target=_end_with, args=(pipe, sys.argv[1]), daemon=True).start()
    del sys.argv[:2]
    # as Python does for a script
    sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
