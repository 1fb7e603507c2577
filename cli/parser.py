"""How every command reads its words: help with an example, and mistakes in one line."""

import argparse
import textwrap
from collections.abc import Iterable
from typing import NoReturn

from ..common import ending
from ..common.printable import printable
from .name import NAME

WIDTH = 79  # characters of a line of help
WHAT = "LightX2V's quantized models in ComfyUI."
# what to type first, and what for
FIRST = (
    ("doctor", "what is fast on this computer"),
    ("inspect FILE", "what a model file is, and which node loads it"),
    ("convert SOURCE TARGET", "make a smaller, quantized file of a model"),
)
EXITS = (
    (0, "all is well"),
    (1, "something is not: the message or the report says what"),
    (2, "the command line is wrong"),
    (ending.INTERRUPTED, "stopped by Ctrl-C"),
    (ending.UNREAD, "the program that read the output has ended"),
)


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says of a mistake what it is and where to read on, without all options before it."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, formatter_class=argparse.RawDescriptionHelpFormatter, **options)

    def format_help(self) -> str:
        self.usage = self._short_usage()
        return super().format_help()

    def _short_usage(self) -> str:
        """Without a list of all options, which follows."""
        words = [action.metavar or action.dest for action in self._actions if not action.option_strings]
        return " ".join([self.prog, *(["[options]"] if self.prog != NAME else []), *words])

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {printable(message)}. See {self.prog} --help.\n")


def filled(text: str) -> str:
    """A sentence as lines of help."""
    return textwrap.fill(text, WIDTH)


def examples(words: Iterable[str]) -> str:
    """The end of a command's help. words: what is typed behind x2v-quant."""
    typed = [f"  {NAME} {line}" for line in words]
    return "\n".join([f"example{'s' * (len(typed) > 1)}:", *typed])


def exits() -> str:
    """The end of the program's help: every exit status."""
    return "\n".join(["exit status:", *(f"  {status:<5}{words}" for status, words in EXITS)])


def first_words() -> list[str]:
    """What x2v-quant says to somebody who typed nothing else."""
    width = max(len(words) for words, _ in FIRST)
    return [
        f"{WHAT} Begin with one of these:",
        "",
        *(f"  {NAME} {words:<{width}}   {what}" for words, what in FIRST),
        "",
        f"All commands: {NAME} --help. One of them: {NAME} convert --help.",
    ]
