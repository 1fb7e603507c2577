"""Text from outside (names in files, a server's words) as it may stand in a terminal or a log."""

import unicodedata

# control characters and line ends, format characters (what turns the direction of text, what has no width), halves of
# pairs: they move a terminal's cursor, forge a line or hide what is there
HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """The text with what would not be seen in it written as in a Python string: `\\x1b`, `\\n`, `\\u202e`. It is one
    line, and stays the same when it is passed on again."""
    if text.isprintable():
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if unicodedata.category(char) in HIDDEN else char for char in text
    )


class PrintableError(Exception):
    """An error whose message is one line, whatever is in the names and values that it quotes."""

    def __str__(self) -> str:
        return printable(super().__str__())


class LinesError(PrintableError):
    """An error with a message of several lines: what it quotes is made printable before they are joined."""

    def __str__(self) -> str:
        return "\n".join(map(printable, Exception.__str__(self).split("\n")))
