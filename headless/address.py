"""The address of a server, as a user typed it."""

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Address:
    """`url`: http://host:port without user name and password, safe to show. `login`: those two as the value of the
    header Authorization."""

    url: str
    login: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str) -> "Address | None":
        """Parse an address; None if it is none of a web server."""
        try:
            parts = urlsplit(text)
            usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            return None
        if not usable:
            return None
        login = None
        if parts.username is not None:
            words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            login = f"Basic {base64.b64encode(words.encode(errors='surrogateescape')).decode()}"
        host = parts.netloc.rpartition("@")[2]
        return cls(f"{parts.scheme}://{host}{parts.path.rstrip('/')}", login)


def shown(text: str) -> str:
    """A typed address without its secrets: user name, password and query."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", text.partition("?")[0].strip(), flags=re.IGNORECASE | re.DOTALL)
