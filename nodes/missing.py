"""Files that a saved graph names and that are not here: the sentence, and the answer of `validate_inputs`."""

from collections.abc import Callable

from ..common.printable import PrintableError


class MissingFileError(PrintableError, FileNotFoundError):
    """A name of an input is not in the folder that the input lists. The message says where the file belongs."""


def missing(name: object, kind: str) -> MissingFileError:
    """The error for a name that core's folder `kind` ("diffusion_models", ...) does not have."""
    return MissingFileError(
        f"{name} is not in models/{kind}. Download it there (a template's note has the link) and press R, or pick "
        "another file."
    )


def same_name(name: object, names: list[str]) -> str | None:
    """The one of `names` that is meant; a graph saved on Windows has other separators. None if there is none."""
    if name in names:
        return name
    plain = str(name).replace("\\", "/")
    return next((other for other in names if other.replace("\\", "/") == plain), None)


def problem(*lookups: tuple[Callable, ...]) -> bool | str:
    """What `validate_inputs` answers: True, or the message of the first lookup that finds no file. Each of `lookups`:
    a function and its arguments, where None is an input with a link, whose value is not known yet."""
    for look_up, *arguments in lookups:
        if None in arguments:
            continue
        try:
            look_up(*arguments)
        except MissingFileError as error:
            return str(error)
    return True
