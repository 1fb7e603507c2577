"""The pack's modules by name; those that measure are in a checkout of the repository and in no installed package."""

import importlib
import importlib.util
from types import ModuleType

from ..common.printable import PrintableError

PACK = __package__.rpartition(".")[0]
REPOSITORY = "https://github.com/x2v-quant/x2v-quant"


class CheckoutError(PrintableError, RuntimeError):
    """A command needs a folder that is not installed."""


def module_of(name: str, command: str) -> ModuleType:
    """The pack's module `name`. Raises CheckoutError if its folder is not installed; `command` needs it."""
    folder = name.partition(".")[0]
    if importlib.util.find_spec(f"{PACK}.{folder}") is None:
        raise CheckoutError(
            f"{command} needs the folder {folder}, which is not installed: git clone {REPOSITORY}, and run there "
            f"python dev.py exec {command}"
        )
    return importlib.import_module(f"{PACK}.{name}")
