"""The command, once Ctrl-C is answered: while Python itself starts, nothing of the pack can answer."""

import os
import subprocess
import sys

# the command imports its parts under the handler that stays
TELLS = """
import os, sys
from x2v_quant.cli import main
pipe = int(sys.argv.pop(1))
sys.addaudithook(
    lambda event, said: event == "import" and said[0] == "x2v_quant.cli.program" and os.write(pipe, b"begun")
)
sys.exit(main())
"""


def begun_command(words: list[str], **options) -> subprocess.Popen:
    """`x2v-quant` with these words, begun. options: of Popen."""
    reading, writing = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", TELLS, str(writing), *words], pass_fds=(writing,), **options)
    os.close(writing)
    with open(reading, "rb") as pipe:
        assert pipe.read(1), "the command has ended before it began"
    return process
