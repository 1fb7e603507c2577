"""x2v-quant: the command line."""

import argparse
import json

from ..common import ending
from ..common.printable import printable

NAME = "x2v-quant"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 if all is well, 1 if the report says otherwise, 2 for a wrong command line, 130 after Ctrl-C, 141
    if nobody reads on."""
    with ending.quiet(NAME):
        with ending.at_once(NAME):
            # here, for torch takes seconds in which Ctrl-C has to be answered
            from .commands import COMMANDS, ERRORS
        parser = argparse.ArgumentParser(NAME, description="LightX2V's quantized checkpoints in ComfyUI.")
        subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
        for command in COMMANDS:
            subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
            subparser.add_argument("--json", action="store_true", help="one JSON object on standard output")
            command.arguments(subparser)
            subparser.set_defaults(command=command)
        options = parser.parse_args(arguments)
        with ending.in_time(NAME):
            try:
                found = options.command.run(options)
            except ERRORS as error:
                parser.exit(1, f"{NAME}: {error}\n")
            except BrokenPipeError:
                raise
            except OSError as error:  # of a place that nothing above has looked at
                parser.exit(1, f"{NAME}: {printable(str(error))}. Check the path, its permissions and its disk.\n")
            ending.write(NAME, [json.dumps(found)] if options.json else options.command.lines(found))
        return 0 if options.command.ok(found) else 1
