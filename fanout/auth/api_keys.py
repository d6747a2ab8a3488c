"""API keys: a set of secrets, kept as digests, with an optional end of life: configured ones and stored ones.

May not know: headers, settings, what a key opens, or where one is stored. Keys are long and random, so a plain SHA-256
is enough; a slow password hash would let anyone keep the process busy (reference: dependencies).
"""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from hashlib import sha256
from math import inf

from fanout.errors import ConfigurationError, Unauthorized
from fanout.model import AuthMode, Identity, StoredKey

DIGEST_PREFIX = "sha256:"
_GENERATED_PREFIX = "da2-"  # as AppSync's keys begin
_GENERATED_CHARACTERS = string.ascii_lowercase + string.digits
_GENERATED_LENGTH = 26  # of 36 characters: 134 bits
DIGEST_DIGITS = 64
_LONGEST_SHOWN_PREFIX = 4
NAME_DIGITS = 16
"""Of a name: 64 bits, so that nobody meets another key's by chance, and nobody finds the key by it."""


def generate_key() -> str:
    """A new random key in the form of AppSync's: `da2-` and 26 lower-case letters and digits."""
    return _GENERATED_PREFIX + "".join(secrets.choice(_GENERATED_CHARACTERS) for _ in range(_GENERATED_LENGTH))


class ApiKeys:
    """Keys that are accepted; an empty set accepts none.

    Args:
        entries: each `KEY` or `sha256:HEX` (the SHA-256 of the key, 64 hex digits), with `@INSTANT` behind it for
            an expiry: ISO 8601 with an offset, for example `@2027-01-31T00:00:00Z`. A key is made of visible ASCII
            characters, since it has to travel in a header, and has no `@`.
        now: seconds since 1970.
        setting: where the entries come from, for error messages.

    Raises:
        ConfigurationError: a bad or repeated entry; names its position and at most 4 characters of the key.
    """

    __slots__ = ("_accepted", "_configured", "_expiry_by_subject", "_now")

    def __init__(self, entries: Iterable[str], now: Callable[[], float] = time.time, setting: str = "api_key") -> None:
        self._now = now
        self._configured: dict[bytes, tuple[float, Identity]] = {}
        for position, entry in enumerate(entries, start=1):
            digest, expires_at = _parse_entry(entry, f"{setting} {position}")
            if digest in self._configured:
                raise _refuse(entry, f"{setting} {position}", "this key was given before, leave one of the two out")
            self._configured[digest] = expires_at, _identify(digest)
        self._accept(self._configured)

    def __len__(self) -> int:
        return len(self._accepted)

    def store(self, keys: Iterable[StoredKey]) -> None:
        """Accept these beside the configured keys, in place of those that were stored before.

        A key that is configured and stored is good as long as either is. Who holds a key that stays, stays the same
        identity.
        """
        accepted = dict(self._configured)
        for key in keys:
            known = accepted.get(key.digest)
            expires_at = max(known[0], key.expires_at) if known else float(key.expires_at)
            _, identity = known or self._accepted.get(key.digest) or (0, _identify(key.digest))
            accepted[key.digest] = expires_at, identity
        self._accept(accepted)

    def check(self, key: str | None) -> Identity:
        """Who holds this key. Costs about 1 us, whatever the number of keys.

        Raises:
            Unauthorized: no key, a wrong one, or one that has expired; it does not say which.
        """
        if not key:
            raise Unauthorized
        # The time of the look-up can tell at most something about the digest of a guess, nothing about a key.
        accepted = self._accepted.get(digest_key(key))
        if accepted is None or self._now() >= accepted[0]:
            raise Unauthorized
        return accepted[1]  # one object for all who hold the key

    def holds(self, identity: Identity) -> bool:
        """Whether the key that an identity was decided by would be accepted now."""
        return self._now() < self._expiry_by_subject.get(identity.subject, -inf)

    def next_expiry(self) -> float:
        """When the next key expires, in seconds since 1970; infinity if none of those that are accepted will."""
        now = self._now()
        return min((expiry for expiry in self._expiry_by_subject.values() if expiry > now), default=inf)

    def _accept(self, accepted: dict[bytes, tuple[float, Identity]]) -> None:
        self._accepted = accepted
        self._expiry_by_subject = {identity.subject: expiry for expiry, identity in accepted.values()}


def digest_key(key: str) -> bytes:
    """All that is kept of a key: its SHA-256, 32 bytes."""
    return sha256(key.encode("utf-8", "surrogatepass")).digest()


def name_digest(digest: bytes) -> str:
    """How operators name a key by its SHA-256: `sha256:` and the first 16 hexadecimal digits."""
    return DIGEST_PREFIX + digest.hex()[:NAME_DIGITS]


def _identify(digest: bytes) -> Identity:
    return Identity(AuthMode.API_KEY, subject=name_digest(digest))


def _parse_entry(entry: str, where: str) -> tuple[bytes, float]:
    secret, at, instant = entry.partition("@")
    if not secret or not all("!" <= character <= "~" for character in secret):
        raise _refuse(entry, where, "write KEY or sha256:HEX; a key is made of visible ASCII characters without @")
    expires_at = _parse_instant(instant, entry, where) if at else inf
    if not secret.startswith(DIGEST_PREFIX):
        return digest_key(secret), expires_at
    hex_digits = secret.removeprefix(DIGEST_PREFIX)
    if len(hex_digits) != DIGEST_DIGITS or not set(hex_digits) <= set(string.hexdigits):
        raise _refuse(entry, where, f"sha256: has to be followed by {DIGEST_DIGITS} hexadecimal digits")
    return bytes.fromhex(hex_digits), expires_at


def _parse_instant(instant: str, entry: str, where: str) -> float:
    try:
        parsed = datetime.fromisoformat(instant)
        if parsed.tzinfo is not None:
            return parsed.timestamp()
    except (ValueError, OverflowError):
        pass
    raise _refuse(entry, where, "what follows @ has to be an instant with an offset, like @2027-01-31T00:00:00Z")


def _refuse(entry: str, where: str, problem: str) -> ConfigurationError:
    # At most a quarter of the key: a short one would be shown whole by its first four characters.
    secret = entry.partition("@")[0].removeprefix(DIGEST_PREFIX)
    shown = secret[: min(_LONGEST_SHOWN_PREFIX, len(secret) // 4)]
    visible = "".join(character if "!" <= character <= "~" else "?" for character in shown)
    return ConfigurationError(f"{where} ({visible}...): {problem}")
