"""A bounded cache: forgets what was used least recently. Knows nothing of what it holds.

Bounded in entries and in weight, since what clients send decides both how many entries there are and how large
each is. An entry that alone is heavier than the bound is not kept.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Least-recently-used cache. `get` and `put` cost a dict operation each; nothing waits.

    Args:
        max_entries: entries kept at most.
        max_weight: sum of the entries' weights at most, in the unit that the owner chooses.
    """

    __slots__ = ("_entries", "_max_entries", "_max_weight", "_weight")

    def __init__(self, max_entries: int, max_weight: int) -> None:
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._max_entries = max_entries
        self._max_weight = max_weight
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def weight(self) -> int:
        """Sum of the weights of what is kept."""
        return self._weight

    def get(self, key: K) -> V | None:
        """The value that was put for `key`, or None; counts as a use."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: K, value: V, weight: int = 1) -> None:
        """Keep `value`, in place of an earlier one for the same key, and forget others to make room."""
        entries = self._entries
        earlier = entries.pop(key, None)
        if earlier is not None:
            self._weight -= earlier[1]
        if weight > self._max_weight:
            return
        entries[key] = (value, weight)
        self._weight += weight
        while len(entries) > self._max_entries or self._weight > self._max_weight:
            _, (_, dropped) = entries.popitem(last=False)
            self._weight -= dropped
