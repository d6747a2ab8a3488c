"""The size of reads: it follows what was read, and never more than both bounds allow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanout.bus.read_size import ReadSize


def entries(count: int, size: int) -> list[tuple[bytes, list[bytes]]]:
    return [(b"1-1", [b"data", b"x" * (size - 4)])] * count


def test_it_grows_while_there_is_a_backlog_and_falls_back_after_it() -> None:
    size = ReadSize(512, 10**9)
    counts = [size.count]
    for _ in range(5):
        size.note(entries(size.count, 100))
        counts.append(size.count)
    assert counts == [64, 128, 256, 512, 512, 512]
    size.note(entries(3, 100))
    assert size.count == 64


def test_large_entries_are_read_few_at_a_time() -> None:
    size = ReadSize(512, 1_000_000)
    size.note(entries(64, 100_000))
    assert size.count == 10
    size.note(entries(10, 5_000_000))
    assert size.count == 1
    size.note(entries(1, 100))
    assert size.count == 2


def test_a_small_bound_holds_from_the_beginning() -> None:
    assert ReadSize(8, 10**9).count == 8


@given(st.lists(st.tuples(st.integers(1, 600), st.integers(4, 100_000)), max_size=20))
def test_a_batch_like_the_last_one_is_within_both_bounds(batches: list[tuple[int, int]]) -> None:
    size = ReadSize(512, 1_000_000)
    for count, entry_bytes in batches:
        size.note(entries(min(count, size.count), entry_bytes))
        assert 1 <= size.count <= 512
        assert size.count == 1 or size.count * entry_bytes <= 1_000_000
