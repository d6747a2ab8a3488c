"""Intervals are found by the values that they hold, in however many chunks they are kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from filters.accesses.intervals import Intervals
from tests.filters import strategies
from tests.filters.accesses.store_machine import check_store

numbers = st.one_of(st.integers(-9, 9), strategies.numbers)


@pytest.mark.parametrize("values", [numbers, strategies.strings], ids=["numbers", "strings"])
def test_intervals_are_found_by_what_they_hold(values: st.SearchStrategy[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filters.accesses.intervals._LARGEST_CHUNK", 3)
    monkeypatch.setattr("filters.accesses.intervals._RUN", 2)
    check_store(Intervals, st.tuples(values, values), values, lambda key, field: bool(key[0] <= field <= key[1]))


def test_a_large_set_as_it_is_cut_and_emptied() -> None:
    intervals: Intervals[int] = Intervals()
    keys = [(number * 7919 % 20_000, number * 7919 % 20_000 + number % 50 * 3) for number in range(20_000)]
    for number, key in enumerate(keys):
        intervals[key] = number
    for left in (20_000, 10_000, 100, 0):
        for key in keys[left : len(intervals)]:
            del intervals[key]
        assert len(intervals) == left
        for field in (-1, 0, 77, 12_345, 12_345.5, 19_999, 21_000):
            expected = [number for number, (start, end) in enumerate(keys[:left]) if start <= field <= end]
            assert sorted(intervals.find(field)) == expected
    assert not intervals


def test_chunks_that_disappear_take_nothing_else_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole chunks go, from the front and from anywhere, so that the others move into other runs."""
    monkeypatch.setattr("filters.accesses.intervals._LARGEST_CHUNK", 3)
    monkeypatch.setattr("filters.accesses.intervals._RUN", 2)
    for step in (1, 7, 23):
        intervals: Intervals[int] = Intervals()
        plain = {(start, start + (90 if start % 9 == 0 else start % 4)): start for start in range(60)}
        for key, start in plain.items():
            intervals[key] = start
        for key in [list(plain)[number * step % 60] for number in range(60)]:
            del intervals[key], plain[key]
            for field in range(0, 150, 10):
                expected = [start for (first, last), start in plain.items() if first <= field <= last]
                assert sorted(intervals.find(field)) == expected
        assert not intervals


def test_only_chunks_that_reach_a_value_are_looked_into() -> None:
    """Of 20,000 disjoint intervals, whatever the value, a few chunks' worth of ends are compared."""

    class Counted(int):
        compared = 0

        def __lt__(self, other: int) -> bool:
            Counted.compared += 1
            return int(self) < int(other)

        def __ge__(self, other: int) -> bool:
            Counted.compared += 1
            return int(self) >= int(other)

    intervals: Intervals[int] = Intervals()
    for number in range(20_000):
        intervals[(number * 10, Counted(number * 10 + 5))] = number
    Counted.compared = 0
    assert list(intervals.find(150_003)) == [15_000]
    assert Counted.compared < 200
