"""Reads this gateway's inbox: what other gateways' routers have for it. Hot module.

Knows the inbox's format and how to notice that unread entries were trimmed; not who routes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from fanout.bus.client import BLOCK_MS, Backoff, CommandRefused, Link
from fanout.bus.entries import START, EntryId, Malformed, Note, parse_id, parse_inbox_entry
from fanout.bus.intake import Intake
from fanout.bus.keys import Keys
from fanout.bus.membership import Membership
from fanout.bus.positions import Position, Replaced, advance, parse_stream_info
from fanout.bus.read_size import ReadSize
from fanout.bus.refusals import Refusals
from fanout.errors import Unavailable
from fanout.model import Event
from fanout.settings import Settings

_logger = logging.getLogger(__name__)


class Inbox:
    """Reader of the inbox of one gateway id.

    Args:
        gateway_id: whose inbox; a gateway that joins anew gets another reader.
        settings: batch size and inbox length.
        keys: key names.
        link: connection of its own, for blocking reads.
        membership: reading waits until it is verified.
        intake: takes the events.
        noted: called with each note of a router, in order with the events.
        missed: called with a reason when unread entries were trimmed.
        refusals: noted when Redis refuses to let it be read.
    """

    def __init__(
        self,
        gateway_id: str,
        settings: Settings,
        keys: Keys,
        link: Link,
        membership: Membership,
        intake: Intake,
        noted: Callable[[Note], None],
        missed: Callable[[str], None],
        refusals: Refusals,
    ) -> None:
        self._key = keys.inbox(gateway_id)
        self._read_size = ReadSize(settings.read_batch_size, settings.read_batch_bytes)
        self._refusals = refusals
        self._max_length = settings.inbox_max_length
        self._link = link
        self._membership = membership
        self._intake = intake
        self._noted = noted
        self._missed = missed
        self._position = Position()
        self._read_at_trim = 0
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Read for ever, through any absence of Redis."""
        backoff = Backoff()
        while True:
            await self._membership.wait_verified()
            try:
                await self._read_batch()
                self._refusals.clear("inbox")
                backoff.reset()
            except CommandRefused as error:
                if self._refusals.note("inbox", error):
                    _logger.warning("cannot read the inbox: %s", error)
                await backoff.pause()
            except Unavailable:
                await backoff.pause()

    async def wait_read(self, up_to: EntryId) -> None:
        """Wait until all entries up to and including this one were taken."""
        while self._position.id < up_to:
            self._progress.clear()
            await self._progress.wait()

    async def look_back(self, link: Link) -> None:
        """Redis was away: if it lacks what was read last, the ids that it gives now may be below. Then read all anew;
        what was taken is not taken again."""
        last = self._position.id
        command = ("XRANGE", self._key, str(last), str(last))
        info, entries = await link.call(("XINFO", "STREAM", self._key), command, refusable=2)
        parsed = parse_stream_info(info)
        if isinstance(info, list) and not entries and last == self._position.id >= parsed.first_kept_id:
            self._read_at_trim = parsed.added - parsed.length
            self._position = Position(START, self._read_at_trim)

    async def _read_batch(self) -> None:
        count = self._read_size.count
        (answer,) = await self._link.call(
            ("XREAD", "COUNT", count, "BLOCK", BLOCK_MS, "STREAMS", self._key, str(self._position.id)),
            wait_ms=BLOCK_MS,
        )
        if answer is None:
            return
        entries = answer[0][1]
        self._read_size.note(entries)
        ids = [parse_id(entry[0]) for entry in entries]
        position = Position(ids[-1], self._position.read + len(ids))
        # Routers trim to `inbox_max_length`, so if unread entries were trimmed, then at least as many were left.
        if len(ids) >= min(count, self._max_length):
            (info,) = await self._link.call(("XINFO", "STREAM", self._key), refusable=1)
            try:
                position, lost = advance(self._position, ids, parse_stream_info(info))
            except Replaced:
                self._membership.suspect()
                lost = 0
            if lost:
                _logger.warning("%d events were trimmed from the inbox before they were read", lost)
                self._missed("inbox-trimmed")
        # Before the events are taken: those of a batch that made `deliver` fail are not tried again.
        self._position = position
        try:
            self._take(entries)
        finally:
            self._progress.set()
        await self._trim()

    def _take(self, entries: list[Any]) -> None:
        stream, events = "", list[Event]()
        for _, fields in entries:
            try:
                parsed = parse_inbox_entry(fields)
            except Malformed as error:
                _logger.warning("an entry of the inbox was not written by a gateway: %s", error)
                continue
            if isinstance(parsed, Note) or parsed[0] != stream:
                if events:
                    self._intake.take(stream, events)
                events = []
            if isinstance(parsed, Note):
                self._noted(parsed)
            else:
                stream = parsed[0]
                events.append(parsed[1])
        if events:
            self._intake.take(stream, events)

    async def _trim(self) -> None:
        """Give back the memory of what was read; seldom, since it costs a round trip."""
        if self._position.read - self._read_at_trim > self._max_length // 10:
            self._read_at_trim = self._position.read
            await self._link.call(("XTRIM", self._key, "MINID", str(self._position.id)))
