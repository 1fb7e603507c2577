"""What can be wrong with a checkpoint, in words for the person who picked it."""

from dataclasses import dataclass

from ..common.printable import PrintableError


class CheckpointError(PrintableError, ValueError):
    """The file cannot be used. The message names file, key, cause and remedy; `problem` has them apart, if known."""

    def __init__(self, message: str, problem: "Problem | None" = None):
        super().__init__(message)
        self.problem = problem


@dataclass(frozen=True)
class Problem:
    """`file` is a name without its folder, `key` a tensor's name in it or "" for the file as a whole; `cause` goes on
    from them ("has no scale"), `remedy` is one or two sentences of its own."""

    file: str
    key: str
    cause: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}{': ' + self.key if self.key else ''} {self.cause}. {self.remedy}"

    def error(self) -> CheckpointError:
        return CheckpointError(str(self), self)
