"""From the headers of a request to an identity: one decision for every way in.

The WebSocket side (connect and each start) and `/graphql` ask for a client, `/events` for a publisher, `/admin` for an
operator. May not know: how headers came here (HTTP, header object, message), or what the identity may see. Further
authorization modes (JWT, SigV4, an authorizer function) are added here.
"""

from __future__ import annotations

from collections.abc import Mapping

from fanout.auth.api_keys import ApiKeys
from fanout.model import Identity

API_KEY_HEADER = "x-api-key"


class Authorizer:
    """Decides who is asking. One per process; a reload makes it `become` another.

    Args:
        api_keys: for subscribing and for `/graphql`.
        publisher_keys: for `/events`; no key of another set is good there.
        admin_keys: for `/admin`; none: nobody may.
    """

    __slots__ = ("_admin_keys", "_api_keys", "_publisher_keys")

    def __init__(self, api_keys: ApiKeys, publisher_keys: ApiKeys, admin_keys: ApiKeys | None = None) -> None:
        self._api_keys = api_keys
        self._publisher_keys = publisher_keys
        self._admin_keys = admin_keys or ApiKeys(())

    def become(self, other: Authorizer) -> None:
        """Decide as `other` does from now on."""
        self._api_keys = other._api_keys
        self._publisher_keys = other._publisher_keys
        self._admin_keys = other._admin_keys

    def authorize_client(self, headers: Mapping[str, str]) -> Identity:
        """The client behind these headers (names in lower case).

        Raises:
            Unauthorized: missing, wrong or expired credentials; the text does not say which.
        """
        return self._api_keys.check(headers.get(API_KEY_HEADER))

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
        """Whether a client that was authorized as this identity would still be: not revoked, not expired.

        By what the identity itself says, without credentials: further modes are asked here too.
        """
        return self._api_keys.holds(identity)

    def next_expiry(self) -> float:
        """When some client's credentials expire next, in seconds since 1970; infinity for never."""
        return self._api_keys.next_expiry()
