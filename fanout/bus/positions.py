"""Where a reader of a stream stands, and whether entries were taken away before it read them. Knows no connection.

A stream that is capped loses its oldest entries, read or not, and XREAD then goes on with the next one without a
word. Redis counts what was ever added (`entries-added`, since 7.0), and the reader counts what it has read; so the
place of every entry can be computed and a gap is found exactly, whatever happened between reading and looking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fanout.bus.entries import START, EntryId, parse_id
from fanout.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What `XINFO STREAM` tells.

    Args:
        length: entries that are there now.
        added: entries ever added.
        last_id: the newest id ever given.
        first_id: the oldest entry that is there, or None.
    """

    length: int
    added: int
    last_id: EntryId
    first_id: EntryId | None

    @property
    def first_kept_id(self) -> EntryId:
        """No entry before this id is there any more."""
        return self.first_id or EntryId(self.last_id.ms, self.last_id.number + 1)


MISSING = StreamInfo(0, 0, START, None)
"""A stream that does not exist (yet)."""


@dataclass(frozen=True, slots=True)
class Position:
    """How far a stream was read.

    Args:
        id: the last entry read.
        read: entries ever added up to and including that one.
    """

    id: EntryId = START
    read: int = 0


class Replaced(Exception):  # not an error of anybody's: a finding
    """The stream has fewer entries, or older ones, than were read from it: it is another stream by the same name."""


def parse_stream_info(answer: Any) -> StreamInfo:
    """Read the answer of `XINFO STREAM` in RESP2; any error answer stands for a stream that does not exist.

    Raises:
        ConfigurationError: Redis is older than 7.0.
    """
    if not isinstance(answer, list):
        return MISSING
    values = dict(zip(answer[::2], answer[1::2], strict=True))
    if b"entries-added" not in values:
        raise ConfigurationError("redis_url: this Redis is too old, Fanout needs Redis 7.0 or newer, or Valkey")
    first = values[b"first-entry"]
    return StreamInfo(
        length=values[b"length"],
        added=values[b"entries-added"],
        last_id=parse_id(values[b"last-generated-id"]),
        first_id=parse_id(first[0]) if first else None,
    )


def present_position(info: StreamInfo) -> Position:
    """The position after everything that was ever added."""
    return Position(info.last_id, info.added)


def advance(position: Position, batch: Sequence[EntryId], info: StreamInfo) -> tuple[Position, int]:
    """The position after a batch, and how many entries were removed since the last call without being read.

    Args:
        position: where the reader stood.
        batch: ids of the entries that were then read, possibly none.
        info: of the stream, at any time after that.

    Raises:
        Replaced: the numbers cannot be those of the same stream.

    Entries are removed oldest first. So `added - length` were removed, of which those of the batch that come before
    the first one that is left were read; what was removed beyond that and beyond the position was never read.
    """
    last_id = batch[-1] if batch else position.id
    if info.added < position.read + len(batch) or info.last_id < last_id:
        raise Replaced
    lost = info.added - info.length - position.read
    if lost > 0:
        first_kept_id = info.first_kept_id
        lost -= sum(1 for entry_id in batch if entry_id < first_kept_id)
    lost = max(0, lost)
    return Position(last_id, position.read + lost + len(batch)), lost
