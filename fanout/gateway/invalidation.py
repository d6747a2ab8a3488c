"""Which subscriptions a payload invalidates, of an operator or of a mutation's resolver. Knows no connection's inside.

An invalidation filter is a subscription's own, not its group's: subscribers of one room share a group, and each may
be invalidated alone. So it stands in an index beside the groups, and delivering costs nothing for it. Only
subscriptions on fields that are configured with one, or whose resolver has set one, are in here.

While a resolver runs its subscription has no filter yet, and what the resolver has seen may be what a payload is about:
who is let in may have been put out since. So payloads are remembered as long as something is resolved that began
before them.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from filters import Filter, FilterIndex, compile_filter

if TYPE_CHECKING:
    from fanout.gateway.decisions import Planning
    from fanout.gateway.subscriptions import Subscriber


class Invalidations:
    """The invalidation filters of all subscriptions of one gateway, live or pending, found by payload."""

    __slots__ = ("_count", "_indexes", "_recent", "_resolving")

    def __init__(self) -> None:
        self._indexes: dict[str, FilterIndex[tuple[Subscriber, str]]] = {}
        self._count = 0
        self._recent: deque[tuple[int, str, object]] = deque()
        self._resolving: dict[Planning, int] = {}  # in the order of their beginning, with the count at that time

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
        self._count += 1
        if self._resolving:
            self._recent.append((self._count, field, payload))
        index = self._indexes.get(field)
        return index.match(payload) if index is not None else []

    def begin(self, planning: Planning) -> None:
        """A wish begins to be resolved."""
        self._resolving[planning] = self._count

    def end(self, planning: Planning) -> None:
        """It is not any more; what came meanwhile is forgotten, unless others need it."""
        del self._resolving[planning]
        oldest = next(iter(self._resolving.values()), self._count)
        while self._recent and self._recent[0][0] <= oldest:
            self._recent.popleft()

    def came_since(self, planning: Planning, field: str, filter: Filter | None) -> bool:
        """Whether a payload that this filter matches has come since the wish began to be resolved."""
        if filter is None or not self._recent:
            return False
        began = self._resolving[planning]
        payloads = [payload for count, name, payload in self._recent if count > began and name == field]
        return any(map(compile_filter(filter), payloads))

    def __len__(self) -> int:
        return sum(map(len, self._indexes.values()))
