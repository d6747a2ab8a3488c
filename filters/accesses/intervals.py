"""Spots by two bounds: for `between`, and a lower with an upper bound on one path. Knows no conditions.

Which intervals hold a value (a stabbing query) is answered from chunks: the intervals are divided by where they
start, and within a chunk they are sorted by where they END. In a chunk that starts before the value as a whole, those
that hold it are then a slice; only the one chunk in which the value itself falls is looked through. Chunks that end
before the value are passed over, 64 at a time where possible. Only comparisons are used, so numbers and strings are
served alike. Why this, and not a tree: docs/decisions/0009-how-filters-are-found.md.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter
from typing import Any, Generic, TypeVar

M = TypeVar("M")

Interval = tuple[Any, Any]

_LARGEST_CHUNK = 128
_RUN = 64

_start_of = itemgetter(0)


class Intervals(Generic[M]):
    """What hangs on each interval: first and last value, both included, of one kind.

    An interval whose first value is above its last may be added, and is never found.
    """

    __slots__ = ("_ends", "_lows", "_members", "_peaks", "_starts", "_tops")

    def __init__(self) -> None:
        self._lows: list[Interval] = []
        """A lower bound of the intervals in each chunk, by start and then end; all before it are in earlier chunks."""
        self._starts: list[list[Any]] = []
        self._ends: list[list[Any]] = []
        """Of each chunk; sorted, with `_starts` and `_members` beside it."""
        self._members: list[list[M]] = []
        self._tops: list[Any] = []
        """The last end of each chunk; chunks are never empty."""
        self._peaks: list[Any] = []
        """The last end in each run of `_RUN` chunks."""

    def get(self, interval: Interval) -> M | None:
        """What hangs on an interval, or None."""
        chunk, place, is_there = self._locate(interval)
        return self._members[chunk][place] if is_there else None

    def __setitem__(self, interval: Interval, members: M) -> None:
        chunk, place, is_there = self._locate(interval)
        if is_there:
            self._members[chunk][place] = members
            return
        start, end = interval
        if not self._lows:
            self._lows, self._starts, self._ends, self._members = [interval], [[start]], [[end]], [[members]]
            self._tops, self._peaks = [end], [end]
            return
        self._starts[chunk].insert(place, start)
        self._ends[chunk].insert(place, end)
        self._members[chunk].insert(place, members)
        if interval < self._lows[chunk]:
            self._lows[chunk] = interval
        if len(self._starts[chunk]) > _LARGEST_CHUNK:
            self._split(chunk)
        elif end > self._tops[chunk]:
            self._tops[chunk] = end
            self._peaks[chunk // _RUN] = max(self._peaks[chunk // _RUN], end)

    def __delitem__(self, interval: Interval) -> None:
        chunk, place, is_there = self._locate(interval)
        if not is_there:
            raise KeyError(interval)
        ends = self._ends[chunk]
        del self._starts[chunk][place], ends[place], self._members[chunk][place]
        if not ends:
            del self._lows[chunk], self._starts[chunk], self._ends[chunk], self._members[chunk], self._tops[chunk]
            self._renew_peaks(chunk)
        elif place == len(ends):
            self._tops[chunk] = ends[-1]
            run = chunk // _RUN
            self._peaks[run] = max(self._tops[run * _RUN : (run + 1) * _RUN])

    def __len__(self) -> int:
        return sum(map(len, self._starts))

    def __bool__(self) -> bool:
        return bool(self._lows)

    def find(self, field: Any) -> Iterable[M]:
        """What hangs on the intervals that hold a value.

        Cost: 5 us for the chunk that the value falls into and one look per 64 chunks; then 0.5 us for each chunk that
        reaches up to the value, and 0.02 us for each interval that holds it.
        """
        last = bisect_right(self._lows, field, key=_start_of) - 1
        if last < 0:
            return ()
        slices: list[list[M]] = []
        if self._tops[last] >= field:
            place = bisect_left(self._ends[last], field)
            starts, members = self._starts[last][place:], self._members[last][place:]
            slices.append([each for start, each in zip(starts, members, strict=True) if start <= field])
        tops, ends = self._tops, self._ends
        for run, peak in enumerate(self._peaks[: last // _RUN + 1]):
            if peak >= field:
                for chunk in range(run * _RUN, min((run + 1) * _RUN, last)):
                    if tops[chunk] >= field:
                        slices.append(self._members[chunk][bisect_left(ends[chunk], field) :])
        return chain.from_iterable(slices)

    def _locate(self, interval: Interval) -> tuple[int, int, bool]:
        """The chunk and place where an interval is or belongs, and whether it is there."""
        if not self._lows:
            return 0, 0, False
        start, end = interval
        chunk = max(bisect_right(self._lows, interval) - 1, 0)
        starts, ends = self._starts[chunk], self._ends[chunk]
        place = bisect_left(ends, end)
        while place < len(ends) and ends[place] == end:
            if starts[place] == start:
                return chunk, place, True
            place += 1
        return chunk, place, False

    def _split(self, chunk: int) -> None:
        starts, ends, members = self._starts[chunk], self._ends[chunk], self._members[chunk]
        middle = sorted(zip(starts, ends, strict=True))[len(starts) // 2]
        places: tuple[list[int], list[int]] = ([], [])
        for place, interval in enumerate(zip(starts, ends, strict=True)):
            places[interval >= middle].append(place)
        self._lows.insert(chunk + 1, middle)
        self._starts[chunk : chunk + 1] = [[starts[place] for place in half] for half in places]
        self._ends[chunk : chunk + 1] = [[ends[place] for place in half] for half in places]
        self._members[chunk : chunk + 1] = [[members[place] for place in half] for half in places]
        self._tops[chunk : chunk + 1] = [ends[half[-1]] for half in places]
        self._renew_peaks(chunk)

    def _renew_peaks(self, first_chunk: int) -> None:
        """After chunks were added or removed: they have shifted. 0.02 us per chunk, once in some 100 changes."""
        first = first_chunk // _RUN * _RUN
        self._peaks[first // _RUN :] = [
            max(self._tops[chunk : chunk + _RUN]) for chunk in range(first, len(self._tops), _RUN)
        ]
