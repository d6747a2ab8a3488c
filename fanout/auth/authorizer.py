"""From the headers of a request to an identity: one decision for every way in.

The WebSocket side (connect and each start) and `/graphql` ask for a client, `/events` for a publisher. May not know:
how headers came here (HTTP, header object, message), or what the identity may see. Further authorization modes
(JWT, SigV4, an authorizer function) are added here.
"""

from __future__ import annotations

from collections.abc import Mapping

from fanout.auth.api_keys import ApiKeys
from fanout.model import Identity

API_KEY_HEADER = "x-api-key"


class Authorizer:
    """Decides who is asking. Without state of its own; one per process.

    Args:
        api_keys: for subscribing and for `/graphql`.
        publisher_keys: for `/events`; no key of the other set is good there.
    """

    __slots__ = ("_api_keys", "_publisher_keys")

    def __init__(self, api_keys: ApiKeys, publisher_keys: ApiKeys) -> None:
        self._api_keys = api_keys
        self._publisher_keys = publisher_keys

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
