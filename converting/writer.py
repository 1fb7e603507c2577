"""A converted model on its way to disk: under a temporary name until it is complete, and taken up again if asked."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from ..common.sizes import amount
from ..writing import PARTIAL, beside, check_path, only_writer, words
from . import packages
from .background_writer import BackgroundWriter
from .errors import ConvertError
from .finite import check
from .tensor_file import TensorFile
from .units import Unit

JOURNAL = f"{PARTIAL}.journal"


@contextlib.contextmanager
def reserved(target: Path) -> Iterator[None]:
    """While it lasts, nobody else writes `target`; the folder that it goes to is made, and gone again if nothing was
    written. Raises WriteError if somebody does or the name is none, ConvertError if the disk refuses."""
    made = [folder for folder in target.parents if not os.path.lexists(folder)]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        try:
            check_path(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(only_writer(target))
        except OSError as error:
            raise ConvertError(words(target, error)) from error
        yield


class Writer:
    """Writes `contents` (file name -> units) to `target`, which the caller has `reserved`: a file if `single`, else a
    folder.

    Beside it, under PARTIAL, lies what is not finished, and a journal: its first line is `job`, which says what was
    asked of which source, then a line per finished unit. `resume` takes both up again and leaves them where they are if
    something stops it; otherwise only an interruption (Ctrl-C) leaves them. `tried` is given the place of what was
    written before it gets its name, and may raise.
    """

    def __init__(
        self,
        target: Path,
        contents: dict[str, list[Unit]],
        metadata: dict[str, str],
        single: bool,
        job: str,
        resume: bool,
        overwrite: bool = False,
        tried: Callable[[Path], None] = lambda path: None,
    ):
        self._target, self._single, self._resume, self._job = target, single, resume, job
        self._overwrite, self._tried = overwrite, tried
        self._contents = contents
        self._partial, self._journal = beside(target, PARTIAL), beside(target, JOURNAL)
        self._files = {
            name: TensorFile(
                self._partial if single else self._partial / name,
                {key: spec for unit in units for key, spec in unit.specs.items()},
                metadata,
            )
            for name, units in contents.items()
        }
        self.bytes = sum(file.size for file in self._files.values())

    def write(self, progress: Callable[[int], None] = lambda work: None) -> None:
        """progress: told the work of each finished unit, those that an earlier run finished included.

        Raises ConvertError if the target cannot be written, or is there, and for NaN and infinity; whatever making a
        unit raises goes through.
        """
        finished = self._finished() if self._resume else set()
        try:
            if not finished:
                self._check_space()
            self._write(finished, progress)
        except OSError as error:
            self._give_up()
            raise ConvertError(words(self._target, error)) from error
        except KeyboardInterrupt:
            raise
        except BaseException:
            self._give_up()
            raise

    def _write(self, finished: set[str], progress: Callable[[int], None]) -> None:
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
            with (self._partial / packages.INDEX).open("wb") as file:
                file.write(packages.index(self._contents))
                file.flush()
                os.fsync(file.fileno())
        try:
            self._tried(self._partial)
        except ConvertError:  # --resume would come to the same end
            self._remove()
            raise
        self._check_free()
        os.replace(self._partial, self._target)
        self._journal.unlink()

    def _check_free(self) -> None:
        """What came there since the caller has looked is not replaced."""
        if not self._single and self._target.is_dir() and not any(self._target.iterdir()):
            self._target.rmdir()  # Windows renames no folder to the name of another one
        if os.path.lexists(self._target) and not self._overwrite:
            raise ConvertError(f"{self._target} is there already, since a moment ago. Choose another name.")

    def _write_file(self, file: TensorFile, units: list[Unit], finished: set[str], journal, progress) -> None:
        file.open(fresh=not file.matches() or not finished)
        try:
            with BackgroundWriter() as background:
                for unit in units:
                    if unit.name not in finished:
                        for name, values in unit.parts():
                            check(values, f"{self._target.name}: {name}")
                            background.call(values.nbytes, file.append, name, values)
                        background.call(0, _note, journal, unit.name)
                    progress(unit.work)
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

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._target.parent).free
        if free < self.bytes:
            raise ConvertError(
                f"{self._target} does not fit on its disk: {amount(self.bytes)} are needed, {amount(free)} are free. "
                "Make room, or choose another target."
            )

    def _give_up(self) -> None:
        """A place that cannot be written may not be cleared either: what stopped the writing is what a user is told."""
        if not self._resume:
            with contextlib.suppress(OSError):
                self._remove()

    def _remove(self) -> None:
        """What is not finished, as far as there is any."""
        for file in self._files.values():
            file.close(sync=False)
        if self._partial.is_dir():
            shutil.rmtree(self._partial)
        self._partial.unlink(missing_ok=True)
        self._journal.unlink(missing_ok=True)


def _remove_empty(folders: list[Path]) -> None:
    """The innermost first, up to one that has something in it."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _note(journal: TextIO, line: str) -> None:
    journal.write(f"{line}\n")
    journal.flush()
