"""From what somebody sends to an identity: one decision for every way in.

The WebSocket side (connect and each start) and `/graphql` ask for a client, `/events` for a publisher, `/admin` for an
operator. May not know: how headers came here (HTTP, header object, message), or which fields the identity may use
(`fanout.auth.fields`).

Which mode decides (AppSync guide, "Configuring authorization"; the order is ours):

    Authorization: AWS4-HMAC-SHA256 ...    AWS_IAM
    x-api-key                              API_KEY
    Authorization: a JWT of an issuer      AMAZON_COGNITO_USER_POOLS or OPENID_CONNECT, the issuer's
    any other Authorization                AWS_LAMBDA

A mode that is not configured lets nobody in, but for API keys that are stored: they open the door without it. Neither
does no credential at all, unless that is asked for by name: then it is the default mode's, without a name, claims or
groups.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol

from fanout.auth.api_keys import ApiKeys
from fanout.model import AuthMode, Call, Identity, KeyKind, StoredKey

API_KEY_HEADER = "x-api-key"
ANONYMOUS = "anonymous"
"""The subject of whoever gives no credentials, where that is let in."""
# An empty one is one too, and a wrong one.
_CREDENTIALS = frozenset({API_KEY_HEADER, "authorization"})

Decision = Identity | Awaitable[Identity]
"""Who it is: at once, or after something was asked over the network. Awaiting it raises what deciding would."""


class Provider(Protocol):
    """Decides by one kind of credentials: those of an issuer, signatures, or whatever an authorizer function takes."""

    @property
    def mode(self) -> AuthMode: ...

    def recognizes(self, call: Call) -> bool:
        """Whether these credentials are of its kind, good or bad."""
        ...

    def decide(self, call: Call) -> Decision:
        """Who it is. Raises Unauthorized, at once or when awaited."""
        ...

    def holds(self, identity: Identity) -> bool:
        """Whether an identity of its mode, decided by it or by one of another configuration, may go on."""
        ...


class Authorizer:
    """Decides who is asking. One per process; a reload makes it `become` another.

    Args:
        api_keys: for subscribing and for `/graphql`.
        publisher_keys: for `/events`; no key of another set is good there.
        admin_keys: for `/admin`; none: nobody may.
        providers: of the other modes; asked in this order, signatures first and an authorizer function last.
        anonymous: the mode that clients without any credentials are let in by; None: they are not.
    """

    __slots__ = ("_admin_keys", "_anonymous", "_api_keys", "_providers", "_publisher_keys", "_stored")

    def __init__(
        self,
        api_keys: ApiKeys,
        publisher_keys: ApiKeys,
        admin_keys: ApiKeys | None = None,
        providers: Sequence[Provider] = (),
        anonymous: AuthMode | None = None,
    ) -> None:
        self._api_keys = api_keys
        self._publisher_keys = publisher_keys
        self._admin_keys = admin_keys or ApiKeys(())
        self._providers = tuple(providers)
        self._anonymous = Identity(anonymous, subject=ANONYMOUS) if anonymous else None
        self._stored: tuple[StoredKey, ...] = ()

    def become(self, other: Authorizer) -> None:
        """Decide as `other` does from now on; the stored keys stay."""
        self._api_keys = other._api_keys
        self._publisher_keys = other._publisher_keys
        self._admin_keys = other._admin_keys
        self._providers = other._providers
        self._anonymous = other._anonymous
        self.store(self._stored)

    def store(self, keys: Sequence[StoredKey]) -> None:
        """Accept these keys beside the configured ones, in place of those that were stored before."""
        self._stored = tuple(keys)
        for kind, accepted in (
            (KeyKind.API, self._api_keys),
            (KeyKind.PUBLISHER, self._publisher_keys),
            (KeyKind.ADMIN, self._admin_keys),
        ):
            accepted.store(key for key in keys if key.kind is kind)

    def authorize_client(self, call: Call) -> Decision:
        """The client behind a call.

        Raises:
            Unauthorized: missing, wrong or expired credentials; the text does not say which.
        """
        has_key = API_KEY_HEADER in call.headers
        for provider in self._providers:
            if has_key and provider.mode is not AuthMode.IAM:
                break
            if provider.recognizes(call):
                return provider.decide(call)
        if self._anonymous is not None and _CREDENTIALS.isdisjoint(call.headers):
            return self._anonymous
        return self._api_keys.check(call.headers.get(API_KEY_HEADER))

    def authorize_publisher(self, headers: Mapping[str, str]) -> Identity:
        """The publisher behind these headers (names in lower case).

        Raises:
            Unauthorized: missing, wrong or expired credentials; the text does not say which.
        """
        return self._publisher_keys.check(headers.get(API_KEY_HEADER))

    @property
    def has_admin_keys(self) -> bool:
        """Whether anybody could be an operator."""
        return len(self._admin_keys) > 0

    def authorize_admin(self, headers: Mapping[str, str]) -> Identity:
        """The operator behind these headers (names in lower case).

        Raises:
            Unauthorized: missing, wrong or expired credentials; the text does not say which.
        """
        return self._admin_keys.check(headers.get(API_KEY_HEADER))

    def holds(self, identity: Identity) -> bool:
        """Whether a client that was authorized as this identity may go on: not revoked, not expired.

        By what the identity itself says, without credentials.
        """
        if identity.subject == ANONYMOUS:
            return identity == self._anonymous
        if identity.mode is AuthMode.API_KEY:
            return self._api_keys.holds(identity)
        return any(provider.mode is identity.mode and provider.holds(identity) for provider in self._providers)

    def next_expiry(self) -> float:
        """When some client's API key expires next, in seconds since 1970; infinity for never."""
        return self._api_keys.next_expiry()
