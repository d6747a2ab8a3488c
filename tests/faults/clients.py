"""Many subscribers in one event loop: each connects, subscribes, books what it receives, and comes back when it is cut.

A subscriber can misbehave as clients in the wild do: stop reading, or answer no ping. Connections are raw sockets, read
with the load test's frames, so that a hundred thousand receipts take seconds. Knows the wire and the books, no process:
where gateways are it is told.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, cast

import orjson

from loadtest.appsync import build_header_object, build_header_subprotocol
from loadtest.frames import CLOSE, PING, PONG, TEXT, FrameError, build_frame, build_upgrade, split_frames, split_upgrade
from tests.faults.oracle import Books, Life, Want
from tests.served import API_KEY, wait_until_async

_CONNECT_SECONDS = 10.0
_PAUSE_SECONDS = 0.02
_ID = "s"
_SMALL_BUFFER_BYTES = 8 * 1024


class Dialect(Enum):
    """What a subscriber speaks."""

    APPSYNC = "graphql-ws"
    TRANSPORT_WS = "graphql-transport-ws"


class Refused(Exception):
    """The service did not take the connection or the subscription; the text is its answer."""


class _Connection(asyncio.Protocol):
    """One connection: messages as they come, and a future for its end."""

    def __init__(self, subscriber: Subscriber, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._subscriber = subscriber
        self._port = port
        self._buffer = b""
        self._is_upgraded = False
        self.ended: asyncio.Future[str] = loop.create_future()
        self.upgraded = _create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        offered: tuple[str, ...] = (self._subscriber.dialect.value,)
        if self._subscriber.dialect is Dialect.APPSYNC:
            header_object = build_header_object(f"http://127.0.0.1:{self._port}/graphql", API_KEY)
            offered += (build_header_subprotocol(header_object),)
        self.transport.write(build_upgrade(f"127.0.0.1:{self._port}", "/graphql", offered))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_upgraded:
            try:
                rest = split_upgrade(self._buffer, self._subscriber.dialect.value)
            except FrameError as error:
                self.end("refused", str(error))
                self.transport.abort()
                return
            if rest is None:
                return
            self._buffer = rest
            self._is_upgraded = True
            self.upgraded.set_result(None)
        frames, self._buffer = split_frames(self._buffer)
        for opcode, payload in frames:
            if opcode == TEXT:
                try:
                    self._subscriber.on_message(orjson.loads(payload))
                except (AssertionError, KeyError, orjson.JSONDecodeError) as error:
                    self._subscriber.faults.append(f"{error!r} at {payload[:300]!r}")
                    raise
            elif opcode == PING and not self._subscriber.is_deaf:
                self.transport.write(build_frame(payload, PONG))
            elif opcode == CLOSE:
                self.transport.write(build_frame(payload[:2], CLOSE))
                code = str(int.from_bytes(payload[:2], "big")) if len(payload) >= 2 else "1005"
                self.end(code, payload[2:].decode())

    def connection_lost(self, error: Exception | None) -> None:
        self.end("lost")

    def end(self, ending: str, detail: str = "") -> None:
        if not self.ended.done():
            self.ended.set_result(ending)
            self._subscriber.on_end(ending, detail)
        if not self.upgraded.done():
            self.upgraded.set_exception(Refused(f"{ending} {detail}"))

    def send(self, message: object) -> None:
        self.transport.write(build_frame(orjson.dumps(message)))


class Subscriber:
    """One client with one subscription at a time.

    Args:
        name: for people.
        want: what it subscribes to.
        books: where its lives are written.
        choose_port: where to connect to, asked anew each time.
        dialect: what it speaks.
        is_resuming: asks for positions, and comes back after the last one it was given.
        is_narrow: has a small receive buffer, so that the service notices soon when it does not read.
        comes_back: whether it connects again when its connection ends.
    """

    def __init__(
        self,
        name: str,
        want: Want,
        books: Books,
        choose_port: Callable[[], int],
        *,
        dialect: Dialect = Dialect.APPSYNC,
        is_resuming: bool = False,
        is_narrow: bool = False,
        comes_back: bool = True,
    ) -> None:
        self.name = name
        self.want = want
        self.dialect = dialect
        self.is_deaf = False
        self.endings: list[tuple[str, str]] = []
        self.refusals: list[str] = []
        self.faults: list[str] = []
        self.life: Life | None = None
        self.port = 0
        self.position: str | None = None
        self._books = books
        self._choose_port = choose_port
        self.is_resuming = is_resuming
        self._is_narrow = is_narrow
        self._comes_back = comes_back
        self._connection: _Connection | None = None
        self._initialised: asyncio.Future[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_live(self) -> bool:
        """Subscribed on a connection that is open."""
        return self._started is not None and self._started.done() and not self._started.cancelled()

    @property
    def is_caught_up(self) -> bool:
        return self.is_live and self.life is not None and self._books.is_caught_up(self.life)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave, without a word."""
        assert self._task is not None
        self._comes_back = False
        if self._connection is not None:
            self._connection.end("left")
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()
        self._end_life("left")

    def cut(self) -> None:
        """Lose the connection, as a client does that walks into a lift; it comes back."""
        if self._connection is not None:
            self._connection.transport.abort()

    def stop_reading(self) -> None:
        assert self._connection is not None
        self._connection.transport.pause_reading()

    def go_on_reading(self) -> None:
        assert self._connection is not None
        self._connection.transport.resume_reading()

    # What the connection calls

    def on_message(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "data" | "next":
                self._on_payload(message["payload"])
            case "connection_ack":
                assert self._initialised is not None
                self._initialised.set_result(None)
            case "start_ack":
                self._go_live(is_acknowledged=True)
                if self.is_resuming:
                    self.position = message["payload"]["extensions"]["fanout"]["position"]
            case "error" | "connection_error":
                self._on_refusal(message)
            case "ping":
                assert self._connection is not None
                self._connection.send({"type": "pong"})
            case "ka" | "pong":
                pass
            case _:
                raise AssertionError(f"{self.name}: {message}")

    def on_end(self, ending: str, detail: str) -> None:
        self.endings.append((ending, detail))
        for waiting in (self._initialised, self._started):
            if waiting is not None and not waiting.done():
                waiting.set_exception(Refused(f"{ending} {detail}"))
        self._started = None
        if self.position is None:
            self._end_life(ending)

    # A life

    async def _run(self) -> None:
        while True:
            try:
                connection = await self._connect()
                await connection.ended
            except (OSError, Refused, TimeoutError) as error:
                self.refusals.append(str(error))
                if self._connection is not None:
                    self._connection.end("given up")
                    self._connection.transport.abort()
                await asyncio.sleep(_PAUSE_SECONDS)  # as clients do; nothing depends on it
            finally:
                # Also after a close frame: the service may be stopped before it closes the socket, or for good.
                if self._connection is not None:
                    self._connection.transport.abort()
            if not self._comes_back:
                return

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        self._connection = None
        self.port = port = self._choose_port()
        async with asyncio.timeout(_CONNECT_SECONDS):
            opened = socket.socket()
            opened.setblocking(False)
            if self._is_narrow:
                opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER_BYTES)
            try:
                await loop.sock_connect(opened, ("127.0.0.1", port))
            except BaseException:
                opened.close()
                raise
            _, connection = await loop.create_connection(lambda: _Connection(self, port), sock=opened)
            self._connection = connection
            await connection.upgraded
            self._initialised = _create_future()
            connection.send({"type": "connection_init", "payload": {"x-api-key": API_KEY}})
            await self._initialised
        # No limit: while Redis is away, an acknowledgement waits.
        self._started = _create_future()
        connection.send(self._build_start())
        if self.dialect is Dialect.TRANSPORT_WS:
            self._go_live(is_acknowledged=False)
        await self._started
        return connection

    def _build_start(self) -> dict[str, Any]:
        operation: dict[str, Any] = {"query": self.want.query, "variables": dict(self.want.variables)}
        extensions: dict[str, Any] = {}
        if self.is_resuming:
            extensions["fanout"] = {} if self.position is None else {"after": self.position}
        if self.dialect is Dialect.TRANSPORT_WS:
            return {"id": _ID, "type": "subscribe", "payload": operation | {"extensions": extensions}}
        extensions["authorization"] = {"host": f"127.0.0.1:{self.port}", "x-api-key": API_KEY}
        payload = {"data": orjson.dumps(operation).decode(), "extensions": extensions}
        return {"id": _ID, "type": "start", "payload": payload}

    def _go_live(self, is_acknowledged: bool) -> None:
        if self.life is None:
            # AppSync's dialect alone has a place for the position where a subscription begins.
            is_exact = is_acknowledged and self.is_resuming
            self.life = self._books.open(self.name, self.want, is_acknowledged, is_exact)
        assert self._started is not None
        self._started.set_result(None)

    def _on_payload(self, payload: dict[str, Any]) -> None:
        assert "errors" not in payload, f"{self.name}: {payload}"
        assert self.life is not None, f"{self.name}: data before the acknowledgement"
        self._books.receive(self.life, payload["data"]["onCreateMessage"])
        if self.is_resuming:
            self.position = payload["extensions"]["fanout"]["position"]

    def _on_refusal(self, message: dict[str, Any]) -> None:
        text = orjson.dumps(message["payload"]).decode()
        if "PositionExpired" in text:
            # Told: what was missed is to be loaded, and it begins anew.
            self.position = None
            self._end_life("PositionExpired")
        waiting = self._started if self._started is not None else self._initialised
        assert waiting is not None
        if not waiting.done():
            waiting.set_exception(Refused(text))
        assert self._connection is not None
        self._connection.end("refused", text)

    def _end_life(self, ending: str) -> None:
        if self.life is not None:
            self.life.ending = self.life.ending or ending
            self.life = None


def _create_future() -> asyncio.Future[None]:
    """A future whose exception need not be looked at by anybody: who waits may have gone."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


class Crowd:
    """The subscribers of one test.

    Args:
        books: theirs.
        list_ports: where gateways listen at the moment.
    """

    def __init__(self, books: Books, list_ports: Callable[[], Sequence[int]]) -> None:
        self.books = books
        self.subscribers: list[Subscriber] = []
        self._list_ports = list_ports
        self._turn = 0

    async def join(self, wants: Sequence[Want], count: int = 1, **options: Any) -> list[Subscriber]:
        """Add `count` subscribers for each want, spread over the gateways, and wait until all are live."""
        joined = []
        for number in range(count):
            for want in wants:
                name = f"{len(self.subscribers)} ({want.room or want.rooms or want.least_priority or 'all'}, {number})"
                joined.append(Subscriber(name, want, self.books, self._choose_port, **options))
                self.subscribers.append(joined[-1])
        for subscriber in joined:
            subscriber.start()
        await wait_until_async(lambda: all(subscriber.is_live for subscriber in joined), 60)
        return joined

    async def wait_caught_up(self, subscribers: Sequence[Subscriber] | None = None, seconds: float = 60) -> None:
        """Wait until these, or all, are live and have the last event that is due to them."""
        waited_for = self.subscribers if subscribers is None else subscribers
        try:
            await wait_until_async(lambda: all(subscriber.is_caught_up for subscriber in waited_for), seconds)
        except AssertionError:
            behind = [subscriber for subscriber in waited_for if not subscriber.is_caught_up]
            shown = "\n".join(
                f"{one.name} on {one.port}: {one.endings[-3:]} {one.refusals[-3:]}" for one in behind[:10]
            )
            raise AssertionError(f"{len(behind)} of {len(waited_for)} are behind or away:\n{shown}") from None

    async def leave(self) -> None:
        for subscriber in self.subscribers:
            await subscriber.stop()

    def _choose_port(self) -> int:
        ports = self._list_ports()
        if not ports:
            raise OSError("no gateway at all")
        self._turn += 1
        return ports[self._turn % len(ports)]
