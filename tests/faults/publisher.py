"""A publisher that never gives up: it writes events with XADD, in order, and writes into the books what was accepted.

As docs/operations.md advises, an event carries an idempotency key wherever it may be sent again. Knows Redis' public
contract and the books.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
)

from tests.faults.oracle import STREAM, Books, Event

_PAUSE_SECONDS = 0.02
_AWAY = (ConnectionError, TimeoutError, ReadOnlyError, ClusterDownError, TryAgainError, OSError)


class Publisher:
    """The only publisher of a test.

    Args:
        books: where it writes what it does.
        url: of Redis.
        rooms: taken in turn.
        streams: likewise.
        has_keys: send idempotency keys; without, an attempt that failed is not repeated.
    """

    def __init__(
        self,
        books: Books,
        url: str,
        rooms: Sequence[str] = ("a", "b", "c", "d"),
        streams: Sequence[str] = (STREAM,),
        has_keys: bool = True,
    ) -> None:
        self._books = books
        self._rooms = rooms
        self._streams = streams
        self._has_keys = has_keys
        self._redis = _connect(url)
        self._stopping = asyncio.Event()
        # Two tasks of a test may publish at once; the numbers are in the order of the stream all the same.
        self._turn = asyncio.Lock()

    async def publish(self, count: int, at_once: int = 20, padding: str = "", first_id_ms: int = 0) -> None:
        """Publish `count` events, so many in one trip; waits for Redis as long as it takes.

        Args:
            count: how many.
            at_once: in one trip.
            padding: makes them larger.
            first_id_ms: choose the ids of the entries, one ms apart; 0: Redis does.
        """
        while count > 0:
            async with self._turn:
                events = [self._begin() for _ in range(min(count, at_once))]
                count -= len(events)
                ids = ["*"] * len(events)
                if first_id_ms:
                    ids = [f"{first_id_ms + number}-0" for number in range(len(events))]
                    first_id_ms += len(events)
                await self._write(events, ids, padding)

    async def publish_until_stopped(self, at_once: int = 5, pause_seconds: float = 0.005) -> None:
        """Publish until `stop`, a few at a time."""
        while not self._stopping.is_set():
            await self.publish(at_once, at_once)
            await asyncio.sleep(pause_seconds)  # a load, not a wait
        self._stopping.clear()

    def stop(self) -> None:
        self._stopping.set()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Within the block nothing is published, and all that was is accepted."""
        async with self._turn:
            yield

    async def move(self, url: str) -> None:
        """Publish to another address from now on."""
        await self._redis.aclose()
        self._redis = _connect(url)

    async def close(self) -> None:
        await self._redis.aclose()

    def _begin(self) -> Event:
        number = len(self._books.events)
        room = self._rooms[number % len(self._rooms)]
        return self._books.begin(room, number * 7 % 10, self._streams[number // 3 % len(self._streams)])

    async def _write(self, events: Sequence[Event], entry_ids: Sequence[str], padding: str) -> None:
        """Write events one after the other, in one trip where possible; in a cluster, to where the stream is moved."""
        pending = list(zip(events, entry_ids, strict=True))
        must_ask: Redis | None = None
        while pending:
            trip = (must_ask or self._redis).pipeline(transaction=False)
            for event, entry_id in pending:
                if must_ask is not None:
                    trip.execute_command("ASKING")
                fields = {"mutation": "createMessage", "data": orjson.dumps(event.to_data(padding))}
                if self._has_keys:
                    fields["id"] = f"event-{event.number}".encode()
                trip.xadd(event.stream, fields, id=entry_id)  # type: ignore[arg-type]
            try:
                answers: list[Any] = await trip.execute(raise_on_error=False)
            except _AWAY as error:
                answers = [error]
            if must_ask is not None:
                answers = answers[1::2] or answers
                await must_ask.aclose()
                must_ask = None
            for answer in answers:
                # A key moves as a whole: what comes after a redirection was redirected too.
                if isinstance(answer, MovedError):
                    await self.move(f"redis://127.0.0.1:{answer.port}/0")
                    break
                if isinstance(answer, AskError):
                    must_ask = _connect(f"redis://127.0.0.1:{answer.port}/0")
                    break
                if isinstance(answer, _AWAY):
                    if not self._has_keys:
                        return
                    await asyncio.sleep(_PAUSE_SECONDS)
                    break
                if isinstance(answer, Exception):
                    raise answer
                self._books.accept(pending.pop(0)[0], answer)


def _connect(url: str) -> Redis:
    return Redis.from_url(url, decode_responses=True, socket_timeout=5, retry=Retry(NoBackoff(), 0))
