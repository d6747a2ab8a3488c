"""This gateway's own side of the bus: its membership, the inbox that is open at the moment, and its intake.

It is what a router knows of the gateway that it is a part of. Knows nothing of routing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fanout.bus.client import Link
from fanout.bus.entries import RELEASED, REPLACED, TRIMMED, EntryId, Note
from fanout.bus.inbox import Inbox
from fanout.bus.intake import Intake
from fanout.bus.keys import Keys
from fanout.bus.lease import create_checkpoint
from fanout.bus.membership import Membership
from fanout.bus.positions import Position, parse_stream_info, present_position
from fanout.bus.refusals import Refusals
from fanout.bus.succession import bear_witness
from fanout.metrics import Metrics
from fanout.model import Event
from fanout.settings import Settings


class LocalGateway:
    """One gateway as its own routers see it.

    Args:
        settings: streams, times and sizes.
        keys: key names.
        open_link: makes a connection with a name.
        deliver: see `Bus`.
        missed: called with a reason; see `Bus`.
        released: called with a stream whose router gave up the lease.
        metrics: what is taken is counted.
        refusals: noted when Redis refuses something.
    """

    def __init__(
        self,
        settings: Settings,
        keys: Keys,
        open_link: Callable[[str], Link],
        deliver: Callable[[str, list[Event]], None],
        missed: Callable[[str], None],
        released: Callable[[str], None],
        metrics: Metrics,
        refusals: Refusals,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._missed = missed
        self._refusals = refusals
        self._released = released
        self._control_link = open_link("control")
        self._inbox_link = open_link("inbox")
        self._former_id = ""
        self._entered_at: dict[str, Position] = {}
        self._inbox: Inbox | None = None
        self._inbox_changed = asyncio.Event()
        self.intake = Intake(deliver, metrics)
        self.membership = Membership(
            settings, keys, self._control_link, self._entered, missed, metrics, refusals, self._look_back
        )

    @property
    def gateway_id(self) -> str:
        """The id that this gateway goes by at the moment."""
        return self.membership.gateway_id

    async def wait_verified(self) -> None:
        """Wait until Redis answers and knows this gateway."""
        await self.membership.wait_verified()

    async def wait_inbox_read(self, gateway_id: str, up_to: EntryId) -> None:
        """Wait until the inbox was read up to an entry; not at all if this gateway has another id by now."""
        if self._inbox is not None and gateway_id == self.gateway_id:
            await self._inbox.wait_read(up_to)

    def entered_at(self, stream: str) -> Position:
        """Where a stream was when this gateway joined."""
        return self._entered_at.get(stream, Position())

    def note(self, note: Note) -> None:
        """Do what a router tells. Never awaits."""
        if note.kind == TRIMMED:
            # Whoever has taken all that was lost, or has joined after it, has missed nothing. There is no id between
            # two that differ by one in the number.
            last_lost = EntryId(note.id.ms, note.id.number - 1) if note.id.number else note.id
            if self.intake.last(note.stream) < last_lost:
                self._missed("history-trimmed")
        elif note.kind == REPLACED:
            self.intake.start_at(note.stream, note.id)
            self._missed("history-lost")
        elif note.kind == RELEASED:
            self._released(note.stream)

    async def read_inbox(self) -> None:
        """Read the inbox, for ever; another one when this gateway has joined anew."""
        while self._inbox is not None:
            self._inbox_changed.clear()
            reading = asyncio.create_task(self._inbox.run())
            changed = asyncio.create_task(self._inbox_changed.wait())
            try:
                await asyncio.wait((reading, changed), return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
            finally:
                reading.cancel()
                changed.cancel()
                await asyncio.wait((reading, changed))

    async def _look_back(self) -> None:
        """Redis may have become another server, which lacks the last writes."""
        if self._inbox is not None:
            await self._inbox.look_back(self._control_link)
        await self._bear_witness(self.gateway_id)

    async def _bear_witness(self, gateway_id: str) -> None:
        taken = {stream: self.intake.last(stream) for stream in self._settings.stream}
        await bear_witness(self._control_link, self._keys, gateway_id, taken)

    async def _entered(self, gateway_id: str) -> None:
        """Note where the streams are, so that only what comes from now on is taken, and open the inbox."""
        for id in dict.fromkeys((self._former_id or gateway_id, gateway_id)):  # before that is forgotten
            await self._bear_witness(id)
        inbox_key = self._keys.inbox(gateway_id)
        answers: list[Any] = []
        for key in (inbox_key, *self._settings.stream):
            answers += await self._control_link.call(("XINFO", "STREAM", key), refusable=1)
        _, *streams = (parse_stream_info(answer) for answer in answers)
        for stream, info in zip(self._settings.stream, streams, strict=True):
            position = present_position(info)
            await create_checkpoint(self._control_link, self._keys, stream, position)
            self._entered_at[stream] = position
            self.intake.start_at(stream, position.id)
        self._former_id = gateway_id
        self._inbox = Inbox(
            gateway_id,
            self._settings,
            self._keys,
            self._inbox_link,
            self.membership,
            self.intake,
            self.note,
            self._missed,
            self._refusals,
        )
        self._inbox_changed.set()
