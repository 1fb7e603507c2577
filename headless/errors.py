"""What goes wrong with a server that runs."""

from ..common.printable import LinesError


class ServerError(LinesError, RuntimeError):
    """What the server, or a node in it, refused or failed at; the message names node, type and reason."""


class SilentError(ServerError):
    """Nothing answered: the server, or the network before it, is gone or busy, for now or for good."""


class LateError(SilentError):
    """Something took the connection and did not answer in time."""
