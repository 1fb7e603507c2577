"""The command line: its commands, and how it reads them."""

from ..common import ending
from .name import NAME


def main(arguments: list[str] | None = None) -> int:
    """Run the command that `arguments` name; default: the program's. Returns its exit status, one of EXITS in
    parser.py. Raises SystemExit with that status where it ends before its report."""
    with ending.quiet(NAME, program=arguments is None):
        with ending.at_once(NAME):
            from .program import run
        return run(arguments)


__all__ = ["main"]
