"""What the tests of the bus share: waiting for conditions, a gateway that records, and a gate in front of Redis."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson

from fanout.bus.bus import Bus
from fanout.metrics import Metrics
from fanout.model import Bucket, Event, NewEvent
from fanout.settings import Settings

STREAM = "fanout:events"
ROUTES: dict[str, tuple[str, ...]] = {
    "createMessage": ("onCreateMessage",),
    "updateMessage": ("onUpdateMessage", "onAnyMessage"),
    "unlinked": (),
}
CATCH_ALL = Bucket("onCreateMessage", "", "")

# Short enough that tests of expiry are quick, long enough that a busy machine does not make a gateway look dead.
QUICK: dict[str, Any] = {
    "lease_ms": 400,
    "heartbeat_interval_ms": 100,
    "heartbeat_timeout_ms": 800,
    "bucket_linger_ms": 50,
}


async def until(condition: Callable[[], object], what: str = "the condition", timeout_s: float = 10) -> None:
    """Wait for a condition, or fail and say for what."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s for {what}") from None


def room(name: str) -> Bucket:
    """The bucket of subscriptions to messages of one room."""
    return Bucket("onCreateMessage", "roomId", f"s{name}")


def message(room_id: str, number: int, **fields: Any) -> NewEvent:
    """An event of one room."""
    return NewEvent("createMessage", orjson.dumps({"roomId": room_id, "number": number}), **fields)


class Gateway:
    """A bus, and what came out of it."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = Settings(**{**QUICK, **settings})
        self.metrics = Metrics()
        self.events: list[tuple[str, Event]] = []
        self.missed: list[str] = []
        self.delivering: Callable[[list[Event]], None] = lambda events: None
        self.bus = Bus(self.settings, url, ROUTES.get, self._deliver, self.missed.append, self.metrics)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages delivered, in order."""
        return [event.data["number"] for _, event in self.events]

    @property
    def ids(self) -> list[str]:
        return [event.id for _, event in self.events]

    @property
    def is_router(self) -> bool:
        return self.metrics.routed_streams > 0

    def numbers_of(self, room_id: str) -> list[int]:
        """The numbers of one room's messages; a gateway that routes is given all of them."""
        return [event.data["number"] for _, event in self.events if event.data["roomId"] == room_id]

    def _deliver(self, stream: str, events: list[Event]) -> None:
        assert events, "deliver is called with at least one event"
        self.delivering(events)
        self.events += [(stream, event) for event in events]


class Gate:
    """A proxy in front of Redis. While it holds, nothing passes: to the others the client looks stopped.

    Args:
        server_url: `unix://` URL of the server.
        path: of the socket to listen on.
    """

    def __init__(self, server_url: str, path: Path) -> None:
        self._server_path = server_url.removeprefix("unix://")
        self._path = path
        self._open = asyncio.Event()
        self._open.set()
        self._trigger: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = f"unix://{path}"

    @property
    def is_holding(self) -> bool:
        return not self._open.is_set()

    def hold(self) -> None:
        self._open.clear()

    def hold_after(self, command: bytes) -> None:
        """Let the next request with `command` in it pass, and from then on nothing: not even its answer."""
        self._trigger = command

    def release(self) -> None:
        self._trigger = None
        self._open.set()

    def cut(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._server_path)
        self._writers |= {writer, server_writer}
        for source, target, is_request in ((reader, server_writer, True), (server_reader, writer, False)):
            task = asyncio.create_task(self._pump(source, target, is_request))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_request: bool) -> None:
        try:
            while chunk := await source.read(1 << 20):
                await self._open.wait()
                if is_request and self._trigger is not None and self._trigger in chunk:
                    self._trigger = None
                    self._open.clear()
                target.write(chunk)
                await target.drain()
        except OSError:
            pass
        finally:
            target.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Gate]:
        server = await asyncio.start_unix_server(self._serve, self._path)
        try:
            yield self
        finally:
            server.close()
            self._open.set()
            self.cut()
            if self._tasks:
                await asyncio.wait(self._tasks)


async def publish_numbers(gateway: Gateway, room_id: str, numbers: range) -> None:
    """Publish messages of a room in calls of different sizes."""
    remaining = iter(numbers)
    for size in itertools.cycle((1, 7, 30)):
        part = list(itertools.islice(remaining, size))
        if not part:
            return
        await gateway.bus.publish([message(room_id, number) for number in part])
