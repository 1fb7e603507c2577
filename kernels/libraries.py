"""The packages that bring kernels: whether each is here, in which version, and what to install if it is not."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from .machine import Machine

# ComfyUI's portable build for Windows has a Python of its own, which no other pip installs into
PORTABLE = "in the portable build python_embeded\\python.exe -m {0}, else {0}"


class LacksError(ImportError):
    """The install that is there is not the one that is needed; the message goes on after "... is installed but "."""


@dataclass(frozen=True, eq=False)
class Library:
    """`packages`: names on the package index, newest first; `modules`: top-level names to look for; `load` imports
    what the adapter calls and returns it, raising whatever a broken install raises; `install`: one line for a person,
    by operating system, "" for every other; `hint`: what a failed load usually means, in a few words."""

    name: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    load: Callable[[], object]
    install: dict[str, str]
    hint: str = ""

    def problem(self, machine: Machine) -> str | None:
        """Why it cannot be used, with what to install, or None."""
        if not self._there(machine):
            advice = self.advice(machine)
            return f"needs {self.name}, which is not installed" + (f" ({advice})" if advice else "")
        return None if machine.libraries is not None else self.broken()

    def found(self) -> bool:
        """Whether one of the modules is there; nothing is imported."""
        return any(_found(module) for module in self.modules)

    def expected(self, machine: Machine) -> bool:
        """Whether it should be usable, as far as that can be said without importing it."""
        return self._there(machine)

    def _there(self, machine: Machine) -> bool:
        return self.found() if machine.libraries is None else self.name in machine.libraries

    def broken(self) -> str | None:
        """What is wrong with the install that is there, or None. Imports it, once in a process."""
        return _loaded(self)[1]

    def loaded(self) -> object:
        """What `load` returned; to be called only where `problem` found none."""
        return _loaded(self)[0]

    def advice(self, machine: Machine) -> str:
        """One line of what to install on this operating system; empty if there is nothing for it."""
        line = self.install.get(machine.system, self.install.get("", ""))
        return PORTABLE.format(line) if line and machine.system == "Windows" else line

    def distribution(self) -> tuple[str, str] | None:
        """(package, version) of what is installed, without importing anything; None if it came without metadata."""
        for package in self.packages:
            try:
                return package, importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return None

    def version(self) -> str | None:
        """The installed version, without importing anything; None if no package of that name is there."""
        return self.distribution()[1] if self.distribution() else None


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@functools.cache
def _loaded(library: Library) -> tuple[object, str | None]:
    try:
        return library.load(), None
    except Exception as error:  # a broken install raises anything: AssertionError, OSError, RuntimeError
        found = " ".join(library.distribution() or library.modules[:1])
        cause = error.__cause__ or error  # torch.ops.load_library keeps the linker's words there
        text = (str(cause) or type(cause).__name__).splitlines()[0]
        if isinstance(error, LacksError):
            return None, f"{found} is installed but {text}"
        return None, f"{found} is installed but does not load: {text}" + (f" ({library.hint})" if library.hint else "")


LIBRARIES: dict[str, Library] = {}


def register(library: Library) -> Library:
    """Make `library` known by its name (twice does no harm: the last one wins)."""
    LIBRARIES[library.name] = library
    return library
