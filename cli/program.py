"""Runs the command that was typed."""

import atexit
import gc
import json
import sys

from ..common import ending
from ..common.importing import quick_imports
from ..common.printable import PrintableError, printable
from .checkout import CheckoutError, module_of
from .commands import COMMANDS
from .name import NAME
from .parser import WHAT, Parser, examples, exits, filled, first_words


def run(arguments: list[str] | None) -> int:
    """Exit status: one of EXITS in parser.py. arguments: None: the program's."""
    if arguments is None:
        arguments = sys.argv[1:]
        ending.open_closed_streams()
        # at its end the interpreter would look for garbage among all that was imported, for half a second
        atexit.register(gc.freeze)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    module = None
    if not arguments:
        ending.write(NAME, first_words())
        return 0
    parser = Parser(NAME, description=WHAT, epilog=exits())
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=filled(command.help),
            epilog=examples(command.examples),
        )
        subparser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
        if command.name == chosen:
            with ending.at_once(NAME), quick_imports():
                # here, for torch takes seconds in which Ctrl-C has to be answered
                try:
                    module = module_of(command.module, f"{NAME} {command.name}")
                except CheckoutError as error:
                    parser.exit(1, f"{NAME}: {error}\n")
            getattr(module, "arguments", lambda parser: None)(subparser)
    options = parser.parse_args(arguments)
    with ending.in_time(NAME):
        try:
            found = module.run(options)
        except PrintableError as error:
            stopped = isinstance(error.__cause__, KeyboardInterrupt)
            parser.exit(ending.INTERRUPTED if stopped else 1, f"{NAME}: {error}\n")
        except BrokenPipeError:
            raise
        except OSError as error:  # of a place that nothing above has looked at
            parser.exit(1, f"{NAME}: {printable(str(error))}. Check the path, its permissions and its disk.\n")
        ending.write(NAME, [json.dumps(found)] if options.json else module.lines(found))
    return 0 if getattr(module, "ok", lambda found: True)(found) else 1
