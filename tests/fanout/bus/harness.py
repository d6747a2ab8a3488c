"""What the tests of the bus share: waiting for conditions, a gateway that records, and a gate in front of Redis."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from fanout.bus.bus import Bus
from fanout.metrics import Metrics
from fanout.model import Bucket, Event, NewEvent
from fanout.settings import Settings
from tests.fanout.bus.cluster_client import ClusterClient
from tests.listener import accepting
from tests.served import PATIENCE_SECONDS

STREAM = "fanout:events"
ROUTES: dict[str, tuple[str, ...]] = {
    "createMessage": ("onCreateMessage",),
    "updateMessage": ("onUpdateMessage", "onAnyMessage"),
    "unlinked": (),
}
CATCH_ALL = Bucket("onCreateMessage", "", "")
LEASE = "fanout:{fanout:events}:lease"
CHECKPOINT = "fanout:{fanout:events}:checkpoint"
DEAD = "fanout:{fanout:events}:dead"
EPOCH = "fanout:{fanout:events}:epoch"

# What is looked at now and then is looked at soon; but nothing expires by itself, however long the machine is busy
# with something else.
USUAL: dict[str, Any] = {
    "lease_ms": 60_000,
    "heartbeat_interval_ms": 100,
    "heartbeat_timeout_ms": 600_000,
    "bucket_linger_ms": 50,
}
# For tests in which that is what happens: who says nothing for so long is succeeded as router, and written off.
SHORT_LEASE = {"lease_ms": 400}
SHORT_HEARTBEAT = {"heartbeat_timeout_ms": 800}


async def until(
    condition: Callable[[], object], what: str = "the condition", timeout_s: float = PATIENCE_SECONDS
) -> None:
    """Wait for a condition, or fail and say for what."""
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited {timeout_s} s for {what}") from None


async def until_redis(condition: Callable[[], Awaitable[object]], timeout_s: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition that has to be asked for."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.002)


def room(name: str) -> Bucket:
    """The bucket of subscriptions to messages of one room."""
    return Bucket("onCreateMessage", "roomId", f"s{name}")


def message(room_id: str, number: int, **fields: Any) -> NewEvent:
    """An event of one room."""
    return NewEvent("createMessage", orjson.dumps({"roomId": room_id, "number": number}), **fields)


def build_entry(room_id: str, number: int) -> dict[str, str]:
    """The same event as anybody writes it into the stream."""
    return {"mutation": "createMessage", "data": f'{{"roomId": "{room_id}", "number": {number}}}'}


async def pretend_member(redis: Redis, gateway_id: str) -> None:
    """Write down a gateway that lives and does nothing: whoever routes next begins at the checkpoint because of it."""
    await redis.sadd("fanout:{gateways}", gateway_id)
    await redis.set(f"fanout:{{gateway:{gateway_id}}}:heartbeat", 1)


async def set_user(redis: Redis, name: str, *rules: str) -> None:
    """Define a user of Redis, on all servers of a cluster."""
    if isinstance(redis, ClusterClient):
        await redis.acl_setuser(name, *rules)
    else:
        await redis.execute_command("ACL", "SETUSER", name, *rules)


class Gateway:
    """A bus, and what came out of it."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.settings = Settings(**{**USUAL, **settings})
        self.metrics = Metrics()
        self.events: list[tuple[str, Event]] = []
        self.missed: list[str] = []
        self.delivering: Callable[[list[Event]], None] = lambda events: None
        self.bus = Bus(
            self.settings,
            url,
            ROUTES.get,
            self._deliver,
            self.missed.append,
            self.metrics,
            describe_mismatch=lambda mutation, data: "" if isinstance(data, dict) else "it is no object",
        )

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


Start = Callable[..., Awaitable[Gateway]]


class GatewayProcess:
    """A gateway in a process of its own, in one bucket; what it prints (see `run_gateway`) is collected."""

    def __init__(self, url: str, bucket: Bucket) -> None:
        self._arguments = ["-m", "tests.fanout.bus.harness", url, *bucket]
        self._process: asyncio.subprocess.Process | None = None
        self.lines: list[str] = []

    @property
    def numbers(self) -> list[int]:
        """The numbers of the messages delivered there, in order."""
        return [int(line) for line in self.lines if line.isdigit()]

    def send(self, sent: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(sent)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[GatewayProcess]:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self._arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        reading = asyncio.create_task(self._read(self._process))
        try:
            yield self
        finally:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            await reading

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.lines.append(line.decode().strip())


async def run_gateway(url: str, bucket: Bucket) -> None:
    """Be a gateway; print `routing`, each number delivered and `missed`, until the standard input ends."""
    gateway = Gateway(url, **SHORT_LEASE)
    shown = 0
    await gateway.bus.start()
    await gateway.bus.register([bucket])
    await until(lambda: gateway.is_router)
    print("routing", flush=True)
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    while not ended.done():
        await asyncio.sleep(0.002)
        for number in gateway.numbers[shown:]:
            print(number, flush=True)
            shown += 1
        if gateway.missed:
            print("missed", flush=True)
            gateway.missed.clear()


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
        both = {writer, server_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, server_writer, True))
                pumps.create_task(self._pump(server_reader, writer, False))
        finally:
            self._writers -= both
            server_writer.transport.abort()

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
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self._path))
        listening.listen()
        async with accepting(listening, self._serve):
            yield self


async def publish_numbers(gateway: Gateway, room_id: str, numbers: range) -> None:
    """Publish messages of a room in calls of different sizes."""
    remaining = iter(numbers)
    for size in itertools.cycle((1, 7, 30)):
        part = list(itertools.islice(remaining, size))
        if not part:
            return
        await gateway.bus.publish([message(room_id, number) for number in part])


if __name__ == "__main__":
    asyncio.run(run_gateway(sys.argv[1], Bucket(*sys.argv[2:5])))
