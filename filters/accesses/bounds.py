"""Spots by one bound, in order: for `lt`, `le`, `gt` and `ge`. Knows no conditions.

The bounds are a sorted list in chunks, so that an addition moves at most a chunk's worth of pointers; in one list of
a million it would move 8 MB. A store holds bounds of one kind, numbers or strings, which do not compare.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import chain
from typing import Any, Generic, TypeVar

from filters.operators import Operator

M = TypeVar("M")

_LARGEST_CHUNK = 512


class Bounds(Generic[M]):
    """What hangs on each bound of one operator.

    Args:
        operator: `lt`, `le`, `gt` or `ge`: how a field has to stand to a bound to find it.
    """

    __slots__ = ("_bisect", "_bounds", "_lows", "_members", "_takes_smaller")

    def __init__(self, operator: Operator) -> None:
        self._takes_smaller = operator in (Operator.GE, Operator.GT)
        # Where, among the bounds, those end that are smaller than the field: with or without an equal one.
        self._bisect: Any = bisect_right if operator in (Operator.GE, Operator.LT) else bisect_left
        self._bounds: list[list[Any]] = []
        self._members: list[list[M]] = []
        self._lows: list[Any] = []
        """The first bound of each chunk; chunks are never empty."""

    def get(self, bound: Any) -> M | None:
        """What hangs on a bound, or None."""
        chunk, place, is_there = self._locate(bound)
        return self._members[chunk][place] if is_there else None

    def __setitem__(self, bound: Any, members: M) -> None:
        chunk, place, is_there = self._locate(bound)
        if is_there:
            self._members[chunk][place] = members
            return
        if not self._lows:
            self._lows, self._bounds, self._members = [bound], [[bound]], [[members]]
            return
        bounds = self._bounds[chunk]
        bounds.insert(place, bound)
        self._members[chunk].insert(place, members)
        self._lows[chunk] = bounds[0]
        if len(bounds) > _LARGEST_CHUNK:
            self._split(chunk)

    def __delitem__(self, bound: Any) -> None:
        chunk, place, is_there = self._locate(bound)
        if not is_there:
            raise KeyError(bound)
        bounds = self._bounds[chunk]
        del bounds[place], self._members[chunk][place]
        if bounds:
            self._lows[chunk] = bounds[0]
        else:
            del self._lows[chunk], self._bounds[chunk], self._members[chunk]

    def __len__(self) -> int:
        return sum(map(len, self._bounds))

    def __bool__(self) -> bool:
        return bool(self._lows)

    def find(self, field: Any) -> Iterable[M]:
        """What hangs on the bounds that a field fulfils. Cost: 1 us, and 0.02 us for each."""
        if not self._lows:
            return ()
        chunk = max(self._bisect(self._lows, field) - 1, 0)
        place = self._bisect(self._bounds[chunk], field)
        members = self._members
        if self._takes_smaller:
            return chain(chain.from_iterable(members[:chunk]), members[chunk][:place])
        return chain(members[chunk][place:], chain.from_iterable(members[chunk + 1 :]))

    def _locate(self, bound: Any) -> tuple[int, int, bool]:
        """The chunk and place where a bound is or belongs, and whether it is there."""
        if not self._lows:
            return 0, 0, False
        chunk = max(bisect_right(self._lows, bound) - 1, 0)
        bounds = self._bounds[chunk]
        place = bisect_left(bounds, bound)
        return chunk, place, place < len(bounds) and bounds[place] == bound

    def _split(self, chunk: int) -> None:
        bounds, members = self._bounds[chunk], self._members[chunk]
        half = len(bounds) // 2
        self._bounds[chunk : chunk + 1] = [bounds[:half], bounds[half:]]
        self._members[chunk : chunk + 1] = [members[:half], members[half:]]
        self._lows.insert(chunk + 1, bounds[half])
