"""The cache forgets what was used least recently, and never holds more than its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanout.schema.lru import Lru


def test_it_forgets_what_was_used_least_recently() -> None:
    cache: Lru[str, int] = Lru(2, 100)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_heavy_entries_push_out_several_and_too_heavy_ones_are_not_kept() -> None:
    cache: Lru[str, int] = Lru(10, 10)
    for key in "abc":
        cache.put(key, 0, 3)
    cache.put("d", 0, 9)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["d"]
    cache.put("e", 0, 11)
    assert (len(cache), cache.weight, cache.get("e")) == (1, 9, None)
    cache.put("d", 0, 11)
    assert (len(cache), cache.weight) == (0, 0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(1, 7))))
def test_bounds_hold_and_values_are_those_last_put(steps: list[tuple[bool, int, int]]) -> None:
    cache: Lru[int, int] = Lru(3, 12)
    weights: dict[int, int] = {}
    order: list[int] = []
    for is_put, key, weight in steps:
        if is_put:
            cache.put(key, weight, weight)
            weights[key] = weight
            order = [*(other for other in order if other != key), key]
            while len(order) > 3 or sum(weights[other] for other in order) > 12:
                del order[0]
        else:
            assert cache.get(key) == (weights[key] if key in order else None)
            if key in order:
                order = [*(other for other in order if other != key), key]
        assert (len(cache), cache.weight) == (len(order), sum(weights[other] for other in order))
