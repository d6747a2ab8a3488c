"""Whose a subscription is, where that is not who its connection is of: each `start` may bring credentials of its own.

Most connections have none, so that this stands beside the subscriptions and costs nothing where it is empty. Starts
that wait for a resolver are in it too; not those of which it is being decided whose they are. Knows no connection's
inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from fanout.model import Identity

if TYPE_CHECKING:
    from fanout.gateway.subscriptions import Subscriber


class Guests:
    """The identities of guests by connection and id, for all connections of one gateway."""

    __slots__ = ("_identities", "expire_at")

    def __init__(self) -> None:
        self._identities: dict[tuple[Subscriber, str], Identity] = {}
        self.expire_at = math.inf
        """No guest's credentials end before, in seconds since 1970."""

    def note(self, subscriber: Subscriber, id: str, identity: Identity) -> None:
        """Remember whose it is, unless it is the connection's own."""
        if identity is not subscriber.identity and identity != subscriber.identity:
            self._identities[subscriber, id] = identity
            self.expire_at = min(self.expire_at, identity.expires_at)

    def forget(self, subscriber: Subscriber, id: str) -> None:
        """It has ended; nothing happens for one that is no guest's."""
        if self._identities:
            self._identities.pop((subscriber, id), None)

    def get(self, subscriber: Subscriber, id: str) -> Identity | None:
        """Whose it is; None where it is the connection's own."""
        return self._identities.get((subscriber, id))

    def find(self, is_meant: Callable[[Identity], bool]) -> list[tuple[Subscriber, str]]:
        """Those whose identity is meant. Walks through all."""
        return [place for place, identity in self._identities.items() if is_meant(identity)]

    def find_expired(self, now: float) -> list[tuple[Subscriber, str]]:
        """Those whose credentials have ended at this time, in seconds since 1970; `expire_at` is of the others then."""
        self.expire_at = min(
            (each.expires_at for each in self._identities.values() if each.expires_at > now), default=math.inf
        )
        return self.find(lambda identity: identity.expires_at <= now)

    def __len__(self) -> int:
        return len(self._identities)
