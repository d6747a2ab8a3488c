"""Which subscriptions an operator's payload invalidates. Knows filters and who subscribed, no connection's inside.

An invalidation filter is a subscription's own, not its group's: subscribers of one room share a group, and each may
be invalidated alone. So it stands in an index beside the groups, and delivering costs nothing for it. Only
subscriptions on fields that are configured with one are in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from filters import Filter, FilterIndex

if TYPE_CHECKING:
    from fanout.gateway.subscriptions import Subscriber


class Invalidations:
    """The invalidation filters of all subscriptions of one gateway, live or pending, found by payload."""

    __slots__ = ("_indexes",)

    def __init__(self) -> None:
        self._indexes: dict[str, FilterIndex[tuple[Subscriber, str]]] = {}

    def add(self, field: str, filter: Filter, subscriber: Subscriber, id: str) -> None:
        """Add a subscription by its field, connection and id. The id is not in use on the connection."""
        index = self._indexes.get(field)
        if index is None:
            index = self._indexes[field] = FilterIndex()
        index.add((subscriber, id), filter)

    def discard(self, field: str, subscriber: Subscriber, id: str) -> None:
        """Forget a subscription, if it was added."""
        index = self._indexes.get(field)
        if index is not None and (subscriber, id) in index:
            index.remove((subscriber, id))
            if not len(index):
                del self._indexes[field]

    def match(self, field: str, payload: object) -> list[tuple[Subscriber, str]]:
        """The subscriptions on a field that a payload (parsed JSON) invalidates."""
        index = self._indexes.get(field)
        return index.match(payload) if index is not None else []

    def __len__(self) -> int:
        return sum(map(len, self._indexes.values()))
