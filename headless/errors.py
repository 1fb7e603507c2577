"""Errors of a running server."""

from ..common.printable import LinesError


class ServerError(LinesError, RuntimeError):
    """The server, or a node in it, refused a request or failed. The message names node, type and reason."""


class SilentError(ServerError):
    """No answer: the server or the network is down or busy."""


class LateError(SilentError):
    """The connection was accepted, but no answer came in time."""
