"""Which web pages may talk to this API, by the header `Origin` that browsers send (RFC 6454). Pure.

An origin says which page a browser acts for, not who is asking: any other program can write what it likes there, or
nothing. Knows no room.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ANY = "*"
_ORIGIN = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<any>\*\.)?(?P<host>[a-z0-9.-]+|\[[0-9a-f:.]+\])(?P<port>:\d{1,5})?"
)
_SUBDOMAINS = r"([a-z0-9_-]+\.)+"


class Origins:
    """Origins that are allowed.

    Args:
        allowed: each `https://app.example.com`, with `:port` where it is not the scheme's own, `https://*.example.com`
            for all subdomains of any depth and not the domain itself, or `*` for all.

    Raises:
        ValueError: an entry that no browser would send; the text says what to write.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        self.listed = tuple(origin for origin in allowed if origin != ANY)
        """Those that are named."""
        self.allows_any = len(self.listed) < len(allowed)
        self.pattern = re.compile("|".join(map(_compile, self.listed)) or r"(?!)")
        """Matches an origin that is named, as a whole."""

    def allows(self, origins: Iterable[str]) -> bool:
        """Whether a request with these values of `Origin` may be served; none: it does not come from a browser."""
        return self.allows_any or all(self.pattern.fullmatch(origin) for origin in origins)


def _compile(origin: str) -> str:
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        raise ValueError(
            f"{origin!r} is not what a browser sends as Origin; write https://app.example.com (lower case, no path), "
            "https://*.example.com, or * for any"
        )
    subdomains = _SUBDOMAINS if found["any"] else ""
    return re.escape(found["scheme"] + "://") + subdomains + re.escape(found["host"] + (found["port"] or ""))
