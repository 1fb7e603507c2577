import sys

from ..common import ending

NAME = "demo"

with ending.quiet(NAME, program=True):
    with ending.at_once(NAME):
        # here, for torch takes seconds in which Ctrl-C has to be answered
        from .run import main
    with ending.in_time(NAME), ending.signals_as_exits():
        status = main()
sys.exit(status)
