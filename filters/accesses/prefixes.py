"""Spots by the beginning of a string: for `beginsWith`. Knows no conditions.

One dict holds all prefixes, and a string is looked up in it cut to each length in use: at most as many lookups as
there are lengths (256 under AppSync's limit), whatever the number of prefixes. A trie would need a node per
character, which is more lookups for most strings, and a dict for each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

M = TypeVar("M")


class Prefixes(dict[str, M]):
    """What hangs on each prefix."""

    __slots__ = ("_lengths",)

    def __init__(self) -> None:
        super().__init__()
        self._lengths: dict[int, int] = {}
        """How many prefixes have a length."""

    def __setitem__(self, prefix: str, members: M) -> None:
        if prefix not in self:
            self._lengths[len(prefix)] = self._lengths.get(len(prefix), 0) + 1
        super().__setitem__(prefix, members)

    def __delitem__(self, prefix: str) -> None:
        super().__delitem__(prefix)
        self._lengths[len(prefix)] -= 1
        if not self._lengths[len(prefix)]:
            del self._lengths[len(prefix)]

    def find(self, field: str) -> Iterable[M]:
        """What hangs on the prefixes of a string. Cost: 0.1 us per length in use."""
        longest = len(field)
        found = []
        for length in self._lengths:
            if length <= longest:
                members = self.get(field[:length])
                if members is not None:
                    found.append(members)
        return found
