"""The limit of paths: each registration in its own bucket or the catch-all one, and given back from where it was."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from fanout.bus.path_limit import PathLimit
from fanout.metrics import Metrics
from fanout.model import Bucket

BUCKETS = [Bucket(field, path, token) for field in "fg" for path in ("a", "b", "c", "d") for token in "12"]
BUCKETS += [Bucket("f", "", ""), Bucket("g", "", "")]


def test_paths_beyond_the_limit_go_to_the_catch_all_bucket_of_their_field() -> None:
    metrics = Metrics()
    limit = PathLimit(2, metrics)
    assert limit.place(BUCKETS[:4]) == BUCKETS[:4]
    assert limit.place([Bucket("f", "c", "1"), Bucket("f", "a", "9"), Bucket("g", "c", "1")]) == [
        Bucket("f", "", ""),
        Bucket("f", "a", "9"),
        Bucket("g", "c", "1"),
    ]
    assert metrics.paths_over_limit == 1
    # A path that is used by nobody any more makes room.
    assert limit.take_back([BUCKETS[2], BUCKETS[3]]) == BUCKETS[2:4]
    assert limit.place([Bucket("f", "d", "1")]) == [Bucket("f", "d", "1")]
    assert limit.take_back([Bucket("f", "c", "1")]) == [Bucket("f", "", "")]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, len(BUCKETS) - 1)), max_size=80), st.integers(1, 5))
def test_whoever_is_registered_is_in_a_bucket_that_covers_it(steps: list[tuple[bool, int]], most: int) -> None:
    limit = PathLimit(most, Metrics())
    wanted: Counter[Bucket] = Counter()
    placed: Counter[Bucket] = Counter()
    for is_place, index in steps:
        bucket = BUCKETS[index]
        if is_place:
            wanted[bucket] += 1
            placed.update(limit.place([bucket]))
        elif wanted[bucket]:
            wanted[bucket] -= 1
            (released,) = limit.take_back([bucket])
            placed[released] -= 1
        assert min(placed.values(), default=0) >= 0
        assert sum(placed.values()) == sum(wanted.values())
        for field in "fg":
            paths = {bucket.path for bucket in +placed if bucket.field == field and bucket.path}
            assert len(paths) <= most
        for bucket in +wanted:
            assert placed[bucket] or placed[Bucket(bucket.field, "", "")]
    assert +placed == Counter() or +wanted
