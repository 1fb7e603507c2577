"""The packages that bring kernels: whether each is here, in which version, and what to install if it is not."""

import functools
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

from ..machine import Machine


@dataclass(frozen=True, eq=False)
class Library:
    """`packages`: names on the package index, newest first; `modules`: top-level names to look for; `load` imports
    what the adapter calls and returns it, raising whatever a broken install raises; `install`: one line for a person,
    by operating system, "" for every other."""

    name: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    load: Callable[[], object]
    install: dict[str, str]

    def problem(self, machine: Machine) -> str | None:
        """Why it cannot be used, with what to install, or None."""
        if machine.libraries is not None:
            found = self.name in machine.libraries
        else:
            found = any(_found(module) for module in self.modules)
        if not found:
            advice = self.advice(machine)
            return f"needs {self.name}, which is not installed" + (f" ({advice})" if advice else "")
        return None if machine.libraries is not None else self.broken()

    def broken(self) -> str | None:
        """What is wrong with the install that is there, or None. Imports it, once in a process."""
        return _loaded(self)[1]

    def loaded(self) -> object:
        """What `load` returned; to be called only where `problem` found none."""
        return _loaded(self)[0]

    def advice(self, machine: Machine) -> str:
        """One line of what to install on this operating system; empty if there is nothing for it."""
        return self.install.get(machine.system, self.install.get("", ""))

    def version(self) -> str | None:
        """The installed version, without importing anything; None if no package of that name is there."""
        for package in self.packages:
            try:
                return importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                continue
        return None


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
        text = (str(error) or type(error).__name__).splitlines()[0]
        version = library.version()
        found = f"{library.name} {version}" if version else library.name
        return None, f"{found} is installed but does not load: {text}"


LIBRARIES: dict[str, Library] = {}
