"""Reads the streams' past for subscribers who resume, and says how far this gateway has come. Knows no subscriber.

Whether everything after a place is still there. A capped stream loses its oldest entries first, so it is, as long as
the entry at that place is. Every read begins with the entry that the read before ended with, and so finds out. Where
no entry was ever: at the end of a stream nothing is missing, and from before the first entry of a stream as long as
none was removed. In any other case it is taken for gone. An entry that somebody deletes (XDEL) is not replayed, and
positions at it are gone.

What replays as it was delivered. The router's decisions about an entry are repeated: whether it is an event of the
schema by the same functions, and whether it is a repetition (same idempotency key) from what the router has written
down (`Keys.duplicates`) before anybody took the entry or one after it.

How far this gateway has come (`taken`). The intake knows the last event of each stream that came here; but what is
not for this gateway does not come, so that it can be far behind. `advance` makes up for that: 1. see the last entry of
a stream; 2. read the checkpoint, up to which all was put into the inboxes that it is for; 3. see the last entry of
the own inbox, and wait until it was taken. Then all up to the checkpoint was taken; and if the checkpoint is not below
the entry of 1., all up to the stream's end as it was then. If the stream or this gateway began anew meanwhile, nothing
of this holds, and nothing is moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fanout.bus.client import Command, CommandRefused, Link
from fanout.bus.entries import START, DescribeMismatch, EntryId, Malformed, parse_event, parse_id
from fanout.bus.epochs import UNKNOWN, EpochReader
from fanout.bus.intake import Intake
from fanout.bus.keys import Keys
from fanout.bus.tokens import read_token, write_token
from fanout.engine import Chunk, HistoryGone, Look, Place, Places, Token
from fanout.errors import PositionExpired, Unavailable
from fanout.metrics import Metrics
from fanout.model import Event
from fanout.settings import Settings

# What one read brings: bounds memory, and how long parsing it holds the event loop (about 3 ms; 256 entries of 1 KB).
_CHUNK_BYTES = 256 * 1024
_FIRST_CHUNK_ENTRIES = 64
_MOST_CHUNK_ENTRIES = 256
_MOST_LOOKUPS_PER_CALL = 1000
_INBOX_TIMEOUT_S = 1.0
_REFRESH_S = 5.0


class Gateway(Protocol):
    """What is needed of the gateway that this is a part of."""

    @property
    def gateway_id(self) -> str: ...

    async def wait_verified(self) -> None:
        """Wait until Redis answers and knows this gateway."""

    async def wait_inbox_read(self, gateway_id: str, up_to: EntryId) -> None:
        """Wait until the inbox was read up to and including an entry, as long as the gateway has this id."""


@dataclass(frozen=True, slots=True)
class _Extent:
    """What `XINFO STREAM` tells of where a stream is.

    Args:
        last_id: the newest id ever given.
        last_entry: the newest entry that is there; None in an empty stream.
        is_whole: no entry was ever removed.
    """

    last_id: EntryId
    last_entry: EntryId | None
    is_whole: bool

    @property
    def end(self) -> EntryId:
        return self.last_entry or self.last_id


_MISSING = _Extent(START, None, True)


class ReplayReader:
    """The past of all streams, as `fanout.engine.History` has it.

    Args:
        settings: the streams.
        keys: key names.
        reads, looks: connections of their own: for reading, and for `find_position`.
        gateway: this gateway.
        intake: what it has taken.
        route: the subscription fields that a mutation is linked to; None for an unknown mutation.
        metrics: what is read is counted.
        describe_mismatch: says why data cannot be a mutation's result; routers have put such entries aside.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        reads: Link,
        looks: Link,
        gateway: Gateway,
        intake: Intake,
        route: Callable[[str], tuple[str, ...] | None],
        metrics: Metrics,
        describe_mismatch: DescribeMismatch | None = None,
    ) -> None:
        self._describe_mismatch = describe_mismatch
        self._streams = sorted(settings.stream)
        self._numbers = {stream: number for number, stream in enumerate(self._streams)}
        self._keys = keys
        self._reads = reads
        self._looks = looks
        self._gateway = gateway
        self._intake = intake
        self._route = route
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._epochs = [UNKNOWN] * len(self._streams)
        self._chunk_entries = [_FIRST_CHUNK_ENTRIES] * len(self._streams)
        self._looking: asyncio.Task[str] | None = None

    # Without waiting

    def taken(self) -> Places:
        """See `fanout.engine.History`."""
        return tuple(self._intake.last(stream) for stream in self._streams)

    def write_token(self, places: Places) -> bytes:
        """See `fanout.engine.History`."""
        return write_token(self._epochs, places)

    def write_position(self, stream: str, event_id: str) -> bytes:
        """The position after an event that is being delivered: it, and what was taken of the other streams."""
        if len(self._streams) == 1:
            return write_token(self._epochs, (parse_id(event_id),))
        return write_token(
            self._epochs, [parse_id(event_id) if each == stream else self._intake.last(each) for each in self._streams]
        )

    def read_token(self, text: str) -> Token:
        """Read a position that a client sent.

        Raises:
            BadRequest: it is none.
            PositionExpired: it was not given by this deployment as it is now.
        """
        return read_token(text, len(self._streams))

    def find_stream(self, name: str) -> int:
        """See `fanout.engine.History`."""
        return self._numbers[name]

    # For HTTP

    async def find_position(self) -> str:
        """The position of this moment: everything published from now on comes after it.

        Calls at the same time share a round trip.

        Raises:
            Unavailable: Redis did not answer.
        """
        # One that is under way serves as well: it may only be a little earlier.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._find_position())
            self._looking.add_done_callback(_forget_failure)
        return await asyncio.shield(self._looking)

    async def _find_position(self) -> str:
        # Not noted for others: an answer on this connection may be older than one on the other that was read already.
        extents, epochs, _ = await self._see(self._looks, [])
        return write_token(epochs, [extent.end for extent in extents]).decode()

    # For catching up

    async def look(self, tokens: Sequence[Token | None]) -> Look:
        """See `fanout.engine.History`. One round trip for up to 1000 places."""
        wanted = {
            (number, EntryId(*place))
            for token in tokens
            if token is not None
            for number, place in enumerate(token.places)
        }
        async with self._turn:
            extents, self._epochs, found = await self._see(self._reads, sorted(wanted))
        ends = tuple(extent.end for extent in extents)
        starts = [ends if token is None else self._check(token, extents, found) for token in tokens]
        return Look(ends, starts)

    async def advance(self) -> None:
        """See `fanout.engine.History`. Three round trips, and the inbox."""
        rebased, gateway_id = self._intake.rebased, self._gateway.gateway_id
        async with self._turn:
            # One after the other, since in a cluster the answers come from several servers.
            infos = await self._reads.call(*self._info_commands(), refusable=len(self._streams))
            checkpoints = await self._reads.call(
                *(("HGET", self._keys.checkpoint(stream), "id") for stream in self._streams)
            )
            (inbox,) = await self._reads.call(("XINFO", "STREAM", self._keys.inbox(gateway_id)), refusable=1)
        if not isinstance(inbox, list):
            return  # this gateway was written off
        try:
            async with asyncio.timeout(_INBOX_TIMEOUT_S):
                await self._gateway.wait_inbox_read(gateway_id, _parse_extent(inbox).last_id)
        except TimeoutError:
            return
        if (rebased, gateway_id) != (self._intake.rebased, self._gateway.gateway_id):
            return
        for stream, info, checkpoint in zip(self._streams, infos, checkpoints, strict=True):
            if checkpoint is None:
                continue
            routed = parse_id(checkpoint)
            extent = _parse_extent(info)
            if extent.last_entry is None or routed >= extent.last_entry:
                routed = max(routed, extent.last_id)
            self._intake.advance(stream, routed)

    async def read(self, stream: int, after: Place, up_to: Place) -> Chunk:
        """See `fanout.engine.History`. One round trip."""
        begin, end = EntryId(*after), EntryId(*up_to)
        name = self._streams[stream]
        # With the entry at the place itself, and as many duplicates: they are some of the entries.
        count = self._chunk_entries[stream] + 1
        bounds = (str(begin), str(end), "COUNT", count)
        async with self._turn:
            entries, dropped = await self._reads.call(
                ("XRANGE", name, *bounds), ("XRANGE", self._keys.duplicates(name), *bounds)
            )
            if not entries or parse_id(entries[0][0]) != begin:
                (info,) = await self._reads.call(("XINFO", "STREAM", name), refusable=1)
                if not _holds_all(begin, _parse_extent(info), is_found=False):
                    raise HistoryGone
        is_end = len(entries) < count
        reached = end if is_end else parse_id(entries[-1][0])
        if entries and parse_id(entries[0][0]) == begin:
            del entries[0]
        self._metrics.entries_replayed += len(entries)
        self._adapt(stream, entries)
        return Chunk(self._parse(entries, {parse_id(entry[0]) for entry in dropped}), reached)

    async def run(self) -> None:
        """Keep positions from growing old in streams that bring nothing here, for ever; only for several streams."""
        while True:
            await asyncio.sleep(_REFRESH_S)
            await self._gateway.wait_verified()
            try:
                await self.advance()
            except Unavailable:
                pass  # the next time will do

    def stop(self) -> None:
        """Give up what is under way for `find_position`."""
        if self._looking is not None:
            self._looking.cancel()

    async def _see(
        self, link: Link, wanted: Sequence[tuple[int, EntryId]]
    ) -> tuple[list[_Extent], list[bytes], set[tuple[int, EntryId]]]:
        """Where the streams are, their epochs, and which of the entries are there."""
        readers = [EpochReader(self._keys, stream) for stream in self._streams]
        count = len(self._streams)
        commands: list[Command] = [*self._info_commands(), *(reader.build_command() for reader in readers)]
        answers = await link.call(*commands, refusable=count)
        epochs = [reader.read(answer) for reader, answer in zip(readers, answers[count:], strict=True)]
        found: set[tuple[int, EntryId]] = set()
        for first in range(0, len(wanted), _MOST_LOOKUPS_PER_CALL):
            part = wanted[first : first + _MOST_LOOKUPS_PER_CALL]
            entries = await link.call(
                *(("XRANGE", self._streams[number], str(place), str(place), "COUNT", 1) for number, place in part)
            )
            found.update(key for key, entry in zip(part, entries, strict=True) if entry)
        return [_parse_extent(answer) for answer in answers[:count]], epochs, found

    def _info_commands(self) -> list[Command]:
        return [("XINFO", "STREAM", stream) for stream in self._streams]

    def _check(
        self, token: Token, extents: Sequence[_Extent], found: set[tuple[int, EntryId]]
    ) -> Places | PositionExpired:
        if list(token.epochs) != self._epochs:
            return PositionExpired("its stream was replaced, or is another deployment's")
        places = tuple(EntryId(*place) for place in token.places)
        for number, (place, extent) in enumerate(zip(places, extents, strict=True)):
            if not _holds_all(place, extent, is_found=(number, place) in found):
                return PositionExpired("what came after it is not kept any more")
        return places

    def _adapt(self, stream: int, entries: Sequence[Any]) -> None:
        if entries:
            size = sum(len(value) for _, fields in entries for value in fields)
            fitting = len(entries) * _CHUNK_BYTES // max(1, size)
            self._chunk_entries[stream] = max(1, min(_MOST_CHUNK_ENTRIES, fitting))

    def _parse(self, entries: Sequence[Any], dropped: set[EntryId]) -> list[tuple[Place, Event]]:
        events: list[tuple[Place, Event]] = []
        for entry_id, fields in entries:
            place = parse_id(entry_id)
            if place in dropped:
                continue
            try:
                event, _ = parse_event(entry_id, fields, self._describe_mismatch)
            except Malformed:
                continue  # the router has told
            if self._route(event.mutation):
                events.append((place, event))
        return events


def _holds_all(place: EntryId, extent: _Extent, *, is_found: bool) -> bool:
    """Whether every entry that ever came after a place is still there; see the top."""
    return is_found or place == extent.last_id or (place == START and extent.is_whole)


def _parse_extent(answer: Any) -> _Extent:
    """Read an answer of `XINFO STREAM`.

    Raises:
        CommandRefused: it cannot be told, perhaps for want of a permission; that is no stream without entries.
    """
    if isinstance(answer, CommandRefused):
        if "no such key" not in str(answer):
            raise answer
        return _MISSING
    values = dict(zip(answer[::2], answer[1::2], strict=True))
    last = values[b"last-entry"]
    return _Extent(
        last_id=parse_id(values[b"last-generated-id"]),
        last_entry=parse_id(last[0]) if last else None,
        is_whole=values[b"entries-added"] == values[b"length"],
    )


def _forget_failure(task: asyncio.Task[str]) -> None:
    # Whoever waits for it is told; nobody may be left who does.
    if not task.cancelled():
        task.exception()
