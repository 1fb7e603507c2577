"""A converted model on its way to disk: under a temporary name until it is complete, and taken up again if asked."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from ..sizes import amount
from . import packages
from .behind import Behind
from .errors import ConvertError
from .tensor_file import TensorFile
from .units import Unit

PARTIAL = ".partial"
JOURNAL = ".journal"


class Writer:
    """Writes `contents` (file name -> units) to `target`: a file if `single`, else a folder.

    Beside it, under PARTIAL, lies what is not finished, and a journal: its first line is `job`, which says what was
    asked of which source, then a line per finished unit. `resume` takes both up again and leaves them where they are if
    something stops it; otherwise only an interruption (Ctrl-C) leaves them.
    """

    def __init__(
        self,
        target: Path,
        contents: dict[str, list[Unit]],
        metadata: dict[str, str],
        single: bool,
        job: str,
        resume: bool,
    ):
        self._target, self._single, self._resume, self._job = target, single, resume, job
        self._contents = contents
        self._partial = target.with_name(target.name + PARTIAL)
        self._journal = target.with_name(target.name + PARTIAL + JOURNAL)
        self._files = {
            name: TensorFile(
                self._partial if single else self._partial / name,
                {key: spec for unit in units for key, spec in unit.specs.items()},
                metadata,
            )
            for name, units in contents.items()
        }
        self.bytes = sum(file.size for file in self._files.values())

    def write(self, progress: Callable[[int], None] = lambda nbytes: None) -> None:
        """progress: told the bytes of each finished unit, those that an earlier run finished included.

        Raises ConvertError if the target cannot be written; whatever making a unit raises goes through.
        """
        finished = self._finished() if self._resume else set()
        try:
            self._check_space(bool(finished))
            self._write(finished, progress)
        except OSError as error:
            self._give_up()
            raise ConvertError(self._words(error)) from error
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._give_up()
            raise

    def _write(self, finished: set[str], progress: Callable[[int], None]) -> None:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        if not finished:
            self._remove()
            if not self._single:
                self._partial.mkdir()
        with self._journal.open("a", encoding="utf-8") as journal:
            if not finished:
                _note(journal, self._job)
            for name, units in self._contents.items():
                self._write_file(self._files[name], units, finished, journal, progress)
        if not self._single:
            (self._partial / packages.INDEX).write_bytes(packages.index(self._contents))
        os.replace(self._partial, self._target)
        self._journal.unlink()

    def _write_file(self, file: TensorFile, units: list[Unit], finished: set[str], journal, progress) -> None:
        file.open(fresh=not file.matches() or not finished)
        try:
            with Behind() as behind:
                for unit in units:
                    if unit.name not in finished:
                        for name, values in unit.parts():
                            behind.call(values.nbytes, file.append, name, values)
                        behind.call(0, _note, journal, unit.name)
                    progress(unit.nbytes)
            file.close(sync=True)
        finally:
            file.close(sync=False)

    def _finished(self) -> set[str]:
        """The units that an earlier run of the same job has written, empty if there are none."""
        if not self._journal.is_file():
            return set()
        job, *lines = self._journal.read_text(encoding="utf-8").split("\n")
        # the last line ends where the run was stopped
        done = set(lines[:-1]) if job == self._job else set()
        begun = {name for name, units in self._contents.items() if any(unit.name in done for unit in units)}
        return done if all(self._files[name].matches() for name in begun) else set()

    def _check_space(self, continued: bool) -> None:
        folder = next(parent for parent in self._target.absolute().parents if parent.is_dir())
        free = shutil.disk_usage(folder).free
        if free < self.bytes and not continued:
            raise OSError(errno.ENOSPC, f"{amount(self.bytes)} are needed, {amount(free)} are free")

    def _words(self, error: OSError) -> str:
        if error.errno == errno.ENOSPC:
            detail = f": {error.strerror}" if "needed" in (error.strerror or "") else ""
            return f"{self._target} does not fit on its disk{detail}. Make room, or choose another target."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{self._target} cannot be written: {error.strerror}. Choose a folder that you may write to."
        if isinstance(error, (FileExistsError, NotADirectoryError)):
            return f"{self._target} cannot be written: {self._target.parent} is no folder. Check the path."
        return f"{self._target} cannot be written: {error.strerror or error}. Check the path and its disk."

    def _give_up(self) -> None:
        """A place that cannot be written may not be cleared either: what stopped the writing is what a user is told."""
        if not self._resume:
            with contextlib.suppress(OSError):
                self._remove()

    def _remove(self) -> None:
        """What is not finished, as far as there is any."""
        for file in self._files.values():
            file.close(sync=False)
        if not self._target.parent.is_dir():
            return
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        self._partial.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)


def _note(journal: TextIO, line: str) -> None:
    journal.write(f"{line}\n")
    journal.flush()
