"""Where a server is, as a person wrote it."""

import base64
import re
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Address:
    """`url`: http://host:port, without a name and password, which nothing that is shown may have; `login`: those, as
    the header Authorization has them."""

    url: str
    login: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, text: str) -> "Address | None":
        """None for what is no address of a web server."""
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
    """What was typed as an address, without what may be secret in it: name, password and query."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", text.partition("?")[0].strip(), flags=re.IGNORECASE | re.DOTALL)
