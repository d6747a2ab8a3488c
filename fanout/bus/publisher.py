"""Appends events to a stream. Calls that come while a trip is under way share the next one.

Knows the stream's name and format, not who reads it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from fanout.bus.client import Command, CommandRefused, Link
from fanout.bus.entries import event_fields
from fanout.bus.refusals import Refusals
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import NewEvent

_logger = logging.getLogger(__name__)

_MOST_EVENTS_PER_TRIP = 1000


class _Call:
    """One call of `publish` that waits."""

    __slots__ = ("bytes", "commands", "done", "size")

    def __init__(self, commands: list[Command], events: Sequence[NewEvent]) -> None:
        self.commands = commands
        self.size = len(events)
        self.bytes = sum(len(event.data) + len(event.key) for event in events)
        self.done: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()


class Publisher:
    """Publishes to one stream.

    Args:
        stream: the event stream.
        max_length: events kept in it (`MAXLEN ~`).
        buffer_bytes: data of all calls that wait for Redis; a single call may be larger.
        link: connection of its own.
        metrics: `events_published` is counted.
        refusals: noted when Redis refuses an event.
    """

    def __init__(
        self, stream: str, max_length: int, buffer_bytes: int, link: Link, metrics: Metrics, refusals: Refusals
    ) -> None:
        self._stream = stream
        self._max_length = max_length
        self._buffer_bytes = buffer_bytes
        self._waiting_bytes = 0
        self._refusals = refusals
        self._part = f"publisher to {stream}"
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
            Unavailable: Redis did not answer or refused, or too much waits for it already. If the connection broke they
                may be published nevertheless; trying again with the same idempotency keys is safe.
        """
        if self._is_closed:
            raise Unavailable("this gateway is stopping")
        if not events:
            return []
        appends: list[Command] = [
            ("XADD", self._stream, "MAXLEN", "~", self._max_length, "*", *event_fields(event)) for event in events
        ]
        call = _Call(appends if len(appends) == 1 else [("MULTI",), *appends, ("EXEC",)], events)
        if self._waiting_bytes and self._waiting_bytes + call.bytes > self._buffer_bytes:
            raise Unavailable("too many events wait for Redis already: try again later")
        self._waiting.append(call)
        self._waiting_bytes += call.bytes
        self._wake.set()
        try:
            ids = await call.done
        except CommandRefused as error:
            if self._refusals.note(self._part, error):
                _logger.warning("cannot publish to stream %s: %s", self._stream, error)
            raise
        finally:
            self._waiting_bytes -= call.bytes
        self._refusals.clear(self._part)
        self._metrics.events_published += len(ids)
        return ids

    async def run(self) -> None:
        """Do what is asked for, for ever."""
        while True:
            while self._waiting:
                if calls := self._take_calls():
                    await self._make_trip(calls)
            self._wake.clear()
            await self._wake.wait()

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
        except Exception:  # our defect: whoever waits is told, and `Bus` logs it and starts this task again
            for call in calls:
                _settle(call, Unavailable("internal error"))
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
            text = f"Redis refused an event: {entry_id}"
            return CommandRefused(text, entry_id) if isinstance(entry_id, ResponseError) else Unavailable(text)
    return [entry_id.decode() for entry_id in ids]


def _settle(call: _Call, outcome: list[str] | Unavailable) -> None:
    if call.done.done():
        return
    if isinstance(outcome, Unavailable):
        call.done.set_exception(outcome)
    else:
        call.done.set_result(outcome)
