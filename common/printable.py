"""Makes text from outside (names in files, a server's messages) safe for a terminal or a log; the pack's errors."""

import sys
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


# what ComfyUI and a traceback write before an error's message, in place of the path of its class
SHOWN_AS = "x2v-quant"


class PrintableError(Exception):
    """The base of all errors of the pack: the message is one line; control characters in quoted names and values are
    escaped.

    Of a class in `builtins`, ComfyUI's error panel and Python's tracebacks show only the qualified name, so the
    sentence follows at once: "x2v-quant: NAME is not in ...". `__name__` stays, `home` is the module of the class.
    """

    home: str

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.home = cls.__module__
        cls.__module__, cls.__qualname__ = "builtins", SHOWN_AS

    def __str__(self) -> str:
        return printable(super().__str__())

    def __reduce__(self):
        """For copies and pickles, which would look for the class in `builtins`."""
        return _restored, (self.home, type(self).__name__, self.args), self.__dict__


def _restored(home: str, name: str, args: tuple) -> PrintableError:
    return getattr(sys.modules[home], name)(*args)


class LinesError(PrintableError):
    """An error whose message has several lines, each made printable."""

    def __str__(self) -> str:
        return "\n".join(map(printable, Exception.__str__(self).split("\n")))
