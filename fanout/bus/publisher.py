"""Appends events to a stream. Calls that come while a trip is under way share the next one.

Knows the stream's name and format, not who reads it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

from fanout.bus.client import Command, CommandRefused, Link
from fanout.bus.entries import event_fields
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import NewEvent

_MOST_EVENTS_PER_TRIP = 1000


class _Call:
    """One call of `publish` that waits."""

    __slots__ = ("commands", "done", "size")

    def __init__(self, commands: list[Command], size: int) -> None:
        self.commands = commands
        self.size = size
        self.done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()


class Publisher:
    """Publishes to one stream.

    Args:
        stream: the event stream.
        max_length: events kept in it (`MAXLEN ~`).
        link: connection of its own.
        metrics: `events_published` is counted.
    """

    def __init__(self, stream: str, max_length: int, link: Link, metrics: Metrics) -> None:
        self._stream = stream
        self._max_length = max_length
        self._link = link
        self._metrics = metrics
        self._waiting: deque[_Call] = deque()
        self._wake = asyncio.Event()
        self._is_closed = False

    async def publish(self, events: Sequence[NewEvent]) -> list[str]:
        """Append events to the stream, all or none, one after the other.

        Returns:
            The stream ids, in the order of `events`.

        Raises:
            Unavailable: Redis did not answer or refused. If the connection broke they may be published nevertheless;
                trying again with the same idempotency keys is safe.
        """
        if self._is_closed:
            raise Unavailable("this gateway is stopping")
        if not events:
            return []
        appends: list[Command] = [
            ("XADD", self._stream, "MAXLEN", "~", self._max_length, "*", *event_fields(event)) for event in events
        ]
        call = _Call(appends if len(appends) == 1 else [("MULTI",), *appends, ("EXEC",)], len(events))
        self._waiting.append(call)
        self._wake.set()
        ids = await call.done
        self._metrics.events_published += len(ids)
        return ids

    async def run(self) -> None:
        """Do what is asked for, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if calls := self._take_calls():
                    await self._make_trip(calls)

    def close(self) -> None:
        """Refuse what waits and whatever comes. Never awaits."""
        self._is_closed = True
        while self._waiting:
            _settle(self._waiting.popleft(), Unavailable("this gateway is stopping"))

    def _take_calls(self) -> list[_Call]:
        calls: list[_Call] = []
        size = 0
        while self._waiting and (not calls or size + self._waiting[0].size <= _MOST_EVENTS_PER_TRIP):
            call = self._waiting.popleft()
            # A call that was given up before anything was sent publishes nothing.
            if not call.done.done():
                calls.append(call)
                size += call.size
        return calls

    async def _make_trip(self, calls: list[_Call]) -> None:
        commands = [command for call in calls for command in call.commands]
        try:
            answers = await self._link.call(*commands, refusable=len(commands))
        except Unavailable as error:
            for call in calls:
                _settle(call, error)
            return
        except asyncio.CancelledError:
            for call in calls:
                _settle(call, Unavailable("this gateway is stopping"))
            raise
        start = 0
        for call in calls:
            end = start + len(call.commands)
            _settle(call, _read_answers(answers[start:end]))
            start = end


def _read_answers(answers: list[Any]) -> list[str] | Unavailable:
    """The ids that one call's commands were answered with, or the refusal."""
    for answer in answers:
        if isinstance(answer, CommandRefused):
            return answer
    ids = answers[-1] if len(answers) > 1 else answers
    for entry_id in ids:
        if not isinstance(entry_id, bytes):
            return Unavailable(f"Redis refused an event: {entry_id}")
    return [entry_id.decode() for entry_id in ids]


def _settle(call: _Call, outcome: list[str] | Unavailable) -> None:
    if call.done.done():
        return
    if isinstance(outcome, Unavailable):
        call.done.set_exception(outcome)
    else:
        call.done.set_result(outcome)
