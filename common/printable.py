"""Makes text from outside (names in files, a server's messages) safe for a terminal or a log."""

import unicodedata

# control characters and line ends, format characters (text direction, zero width), lone surrogates: they move a
# terminal's cursor, forge a line or hide text
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
    """An error whose message is one line; control characters in quoted names and values are escaped."""

    def __str__(self) -> str:
        return printable(super().__str__())


class LinesError(PrintableError):
    """An error whose message has several lines, each made printable."""

    def __str__(self) -> str:
        return "\n".join(map(printable, Exception.__str__(self).split("\n")))
