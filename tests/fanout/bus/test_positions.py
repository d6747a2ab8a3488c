"""Gaps: found exactly, in a model of a stream under any order of appending, reading and trimming."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanout.bus.client import Link
from fanout.bus.entries import START, EntryId, parse_id
from fanout.bus.positions import (
    MISSING,
    Position,
    Replaced,
    StreamInfo,
    advance,
    parse_stream_info,
    present_position,
)
from fanout.errors import ConfigurationError

# A busy machine is no reason to fail.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("trim to"), st.integers(0, 6)),
        st.tuples(st.just("read"), st.integers(1, 4)),
    ),
    max_size=30,
)


class Stream:
    """What Redis keeps of a stream."""

    def __init__(self) -> None:
        self.ids: list[EntryId] = []
        self.added = 0
        self.last_id = START

    def append(self, count: int) -> None:
        for _ in range(count):
            self.added += 1
            self.last_id = EntryId(self.added // 3, self.added)
            self.ids.append(self.last_id)

    def trim_to(self, length: int) -> None:
        self.ids = self.ids[len(self.ids) - min(length, len(self.ids)) :]

    @property
    def info(self) -> StreamInfo:
        return StreamInfo(len(self.ids), self.added, self.last_id, self.ids[0] if self.ids else None)


@relaxed
@given(OPERATIONS, OPERATIONS)
def test_exactly_the_entries_that_were_never_read_are_counted(
    operations: list[tuple[str, int]], during_reads: list[tuple[str, int]]
) -> None:
    """Also when the stream changes between a read and the look at its numbers (`during_reads`)."""
    stream, position, read = Stream(), Position(), set()
    changes = [change for change in during_reads if change[0] != "read"]
    told = 0
    for operation, number in [*operations, ("read", 1000)]:
        if operation == "append":
            stream.append(number)
        elif operation == "trim to":
            stream.trim_to(number)
        else:
            batch = [entry_id for entry_id in stream.ids if entry_id > position.id][:number]
            read.update(entry_id.number for entry_id in batch)
            if changes:
                change, amount = changes.pop()
                _ = stream.append(amount) if change == "append" else stream.trim_to(amount)
            position, lost = advance(position, batch, stream.info)
            told += lost
            removed = stream.added - len(stream.ids)
            assert told == len(set(range(1, removed + 1)) - read)


def test_another_stream_by_the_same_name_is_noticed() -> None:
    position = Position(EntryId(9, 0), 9)
    with pytest.raises(Replaced):
        advance(position, [], MISSING)
    with pytest.raises(Replaced):
        advance(position, [], StreamInfo(20, 20, EntryId(8, 0), EntryId(1, 0)))
    with pytest.raises(Replaced):
        advance(position, [EntryId(10, 0)], StreamInfo(1, 1, EntryId(10, 0), EntryId(10, 0)))
    assert advance(position, [], StreamInfo(0, 9, EntryId(9, 0), None)) == (position, 0)


async def test_what_redis_tells(link: Link) -> None:
    assert parse_stream_info((await link.call(("XINFO", "STREAM", "s"), refusable=1))[0]) == MISSING
    ids = [parse_id((await link.call(("XADD", "s", "*", "a", "b")))[0]) for _ in range(3)]
    assert await _info(link) == StreamInfo(3, 3, ids[2], ids[0])
    await link.call(("XTRIM", "s", "MAXLEN", 1))
    assert await _info(link) == StreamInfo(1, 3, ids[2], ids[2])
    await link.call(("XTRIM", "s", "MAXLEN", 0))
    info = await _info(link)
    assert info == StreamInfo(0, 3, ids[2], None)
    assert present_position(info) == Position(ids[2], 3)
    assert info.first_kept_id > ids[2]


def test_a_redis_that_does_not_count_is_too_old() -> None:
    answer: list[Any] = [b"length", 1, b"last-generated-id", b"1-1", b"first-entry", None]
    with pytest.raises(ConfigurationError, match=r"too old.*7\.0"):
        parse_stream_info(answer)


async def _info(link: Link) -> StreamInfo:
    return parse_stream_info((await link.call(("XINFO", "STREAM", "s")))[0])
