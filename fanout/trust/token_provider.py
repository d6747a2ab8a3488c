"""Providers of the two token modes: of tokens of known issuers, who shows them.

Joins what the room has fetched (`key_sets`) with the rules of `fanout.auth.tokens`, and remembers what was verified, so
that each start of a connection costs microseconds. May not know: HTTP.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from fanout.auth import (
    AUTHORIZATION_HEADER,
    Decision,
    PublicKey,
    Token,
    TokenRules,
    read_token,
    refuse,
    strip_bearer,
    verify,
)
from fanout.errors import ConfigurationError, Unauthorized
from fanout.model import AuthMode, Call, Identity
from fanout.schema.lru import Lru
from fanout.trust.key_sets import KeySet

# Of verified tokens. What one takes beyond its text: identity, claims, dict entries.
_MAX_ENTRIES = 20_000
_MAX_BYTES = 64 * 1024 * 1024
_ENTRY_BYTES, _CHARACTER_BYTES = 1_500, 3


_Shown = tuple[bytes, tuple[str, ...]]
"""What is decided alike: the SHA-256 of a token, and where it comes from if that is told."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who makes tokens: what they have to say, and the keys that sign them."""

    rules: TokenRules
    keys: KeySet


@dataclass(frozen=True, slots=True)
class _Remembered:
    """An identity, and what it was decided by."""

    identity: Identity
    issuer: Issuer
    key_id: str
    key: PublicKey


class TokenProvider:
    """Decides by tokens of several issuers of one mode.

    A token that was verified is looked up by its SHA-256 and is good until it ends, or until its issuer's key set
    has that key no more.

    Args:
        mode: of all issuers.
        issuers: distinct.
        now: seconds since 1970.

    Raises:
        ConfigurationError: an issuer is configured twice.
    """

    def __init__(self, mode: AuthMode, issuers: Sequence[Issuer], now: Callable[[], float]) -> None:
        self.mode = mode
        self._now = now
        self._issuers = {_normalize(issuer.rules.issuer): issuer for issuer in issuers}
        if len(self._issuers) < len(issuers):
            raise ConfigurationError(
                f"{mode.value}: an issuer is configured twice; write its client ids as one regular expression, A|B"
            )
        self._tells_addresses = any(issuer.rules.tells_addresses for issuer in issuers)
        self._cache: Lru[_Shown, _Remembered] = Lru(_MAX_ENTRIES, _MAX_BYTES)

    @property
    def issuer_names(self) -> set[str]:
        """Whose tokens it recognizes."""
        return set(self._issuers)

    def recognizes(self, call: Call) -> bool:
        """Whether there is a token that names one of the issuers, truly or not."""
        text = strip_bearer(call.headers.get(AUTHORIZATION_HEADER, ""))
        if self._recall(self._name(text, call)) is not None:
            return True
        token = read_token(text)
        return token is not None and _normalize(token.issuer) in self._issuers

    def decide(self, call: Call) -> Decision:
        """Who shows the token: at once, unless the issuer's keys have to be fetched.

        Raises:
            Unauthorized: it is not good; or awaiting does, or Unavailable where there are no keys.
        """
        text = strip_bearer(call.headers.get(AUTHORIZATION_HEADER, ""))
        shown = self._name(text, call)
        remembered = self._recall(shown)
        if remembered is not None:
            found = remembered.issuer.keys.find(remembered.key_id)
            if isinstance(found, PublicKey) and found == remembered.key:
                return remembered.identity
        token = read_token(text)
        issuer = self._issuers.get(_normalize(token.issuer)) if token is not None else None
        if token is None or issuer is None:
            raise Unauthorized
        if remembered is None:
            # Before the issuer is asked: nobody makes us do so with a token that could never be good.
            if not token.algorithm or not token.key_id:
                raise refuse(issuer.rules.issuer, "it has no kid, or no alg that is taken")
            found = issuer.keys.find(token.key_id)
        if found is None or isinstance(found, PublicKey):
            return self._conclude(shown, token, issuer, found, call.addresses)
        return self._conclude_later(shown, token, issuer, found, call.addresses)

    def holds(self, identity: Identity) -> bool:
        """Whether the issuer is still one, and by its rules the verified claims are still good for the same."""
        issuer = self._issuers.get(_normalize(identity.claims.get("issuer", "")))
        if issuer is None:
            return False
        addresses = tuple(identity.claims.get("sourceIp", ()))
        try:
            renewed = issuer.rules.identify(identity.claims["claims"], addresses, self._now())
        except Unauthorized:
            return False
        return renewed.expires_at >= identity.expires_at and identity == replace(
            renewed, expires_at=identity.expires_at
        )

    async def _conclude_later(
        self,
        shown: _Shown,
        token: Token,
        issuer: Issuer,
        found: Awaitable[PublicKey | None],
        addresses: tuple[str, ...],
    ) -> Identity:
        key = await found
        # Meanwhile another call with the same token may have been decided: all get the same object.
        remembered = self._recall(shown)
        if remembered is not None and remembered.key == key:
            return remembered.identity
        return self._conclude(shown, token, issuer, key, addresses)

    def _conclude(
        self,
        shown: _Shown,
        token: Token,
        issuer: Issuer,
        key: PublicKey | None,
        addresses: tuple[str, ...],
    ) -> Identity:
        verify(token, key)
        assert key is not None
        identity = issuer.rules.identify(token.claims, addresses, self._now())
        weight = _ENTRY_BYTES + _CHARACTER_BYTES * (len(token.signed) + sum(map(len, shown[1])))
        self._cache.put(shown, _Remembered(identity, issuer, token.key_id, key), weight)
        return identity

    def _recall(self, shown: _Shown) -> _Remembered | None:
        remembered = self._cache.get(shown)
        return remembered if remembered is not None and self._now() < remembered.identity.expires_at else None

    def _name(self, text: str, call: Call) -> _Shown:
        return sha256(text.encode("utf-8", "surrogatepass")).digest(), call.addresses if self._tells_addresses else ()


def _normalize(issuer: str) -> str:
    """Issuers are written with a slash at their end or without."""
    return issuer.rstrip("/")
