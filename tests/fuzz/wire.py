"""A gateway without a network: real connections on transports that the test holds, and a bystander who must not notice.

Everything between the bytes of a client and the bytes to it is real: handshake, frames, dialects, sessions, schema,
registry, dispatch. The harness is the one of the gateway's own tests, without its uvicorn.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import types
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from typing import Any, cast

import orjson
from uvicorn.server import ServerState
from websockets.frames import Opcode

from fanout.gateway import build_protocol_class
from tests.fanout.gateway.conftest import Harness
from tests.fanout.protocol.judge import read_frames
from tests.fuzz.witness import nothing_heard
from tests.served import API_KEY, encode_header

BYSTANDER_QUERY = "subscription { onCreateRoom { id name } }"
"""The only subscription to rooms: strategies write no other, so its group is the bystander's alone."""

_MASK = bytes(4)


class Transport(asyncio.Transport):
    """A transport whose peer is the test. It takes everything at once until it is told to stall."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.buffered = 0
        self.largest_buffered = 0
        self.is_stalled = False
        self.is_ended = False
        self.is_closed = False
        self._high = 65536
        self._is_paused = False
        self._protocol: Any = None

    def connect(self, protocol: asyncio.Protocol) -> None:
        self._protocol = protocol
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        if self.is_closed:
            return
        assert not self.is_ended, "written after the end"
        self.written.append(bytes(data))
        if self.is_stalled:
            self.buffered += len(data)
            self.largest_buffered = max(self.largest_buffered, self.buffered)
            if self.buffered > self._high and not self._is_paused:
                self._is_paused = True
                self._protocol.pause_writing()

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def resume(self) -> None:
        """The peer reads again."""
        self.is_stalled = False
        self.buffered = 0
        if self._is_paused:
            self._is_paused = False
            self._protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is not None:
            self._high = high

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 4711) if name == "peername" else default

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_ended = True

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Client:
    """One connection of the gateway, seen from its client's end."""

    def __init__(self, wire: Wire) -> None:
        self.transport = Transport()
        self.protocol = wire.build()
        self.transport.connect(self.protocol)

    def feed(self, data: bytes) -> None:
        """Bytes from the client, as the event loop would hand them over: never after the transport is closed."""
        if data and not self.transport.is_closed:
            self.protocol.data_received(data)

    def feed_end(self) -> None:
        if not self.transport.is_closed and not self.protocol.eof_received():
            self.transport.close()

    def lose(self) -> None:
        self.transport.close()

    def open(self, path: str = "/graphql/realtime", *subprotocols: str) -> None:
        offered = subprotocols or ("graphql-ws", encode_header({"host": "localhost", "x-api-key": API_KEY}))
        self.feed(upgrade_request(path, [("Sec-WebSocket-Protocol", ", ".join(offered))]))

    def say(self, message: object) -> None:
        """One text message that is right in every way below JSON."""
        self.feed(client_frame(Opcode.TEXT, orjson.dumps(message)))

    def take_written(self) -> bytes:
        data = b"".join(self.transport.written)
        self.transport.written.clear()
        return data


class Wire:
    """A gateway and a bystander with one live subscription, on the running loop."""

    def __init__(self, **settings: Any) -> None:
        self.harness = Harness(**settings)
        self.harness._listener.close()  # nothing is served on it here
        self._class: Any = build_protocol_class(self.harness.gateway)
        self._state = ServerState()
        self._rooms = 0

    def build(self) -> Any:
        return self._class(config=None, server_state=self._state, app_state={})

    async def start(self) -> None:
        self.bystander = Client(self)
        self.bystander.open()
        self.bystander.say({"type": "connection_init"})
        data = orjson.dumps({"query": BYSTANDER_QUERY}).decode()
        authorization = {"host": "localhost", "x-api-key": API_KEY}
        payload = {"data": data, "extensions": {"authorization": authorization}}
        self.bystander.say({"type": "start", "id": "b", "payload": payload})
        await self.settle()
        assert self.bystander.take_written().endswith(b'{"type":"start_ack","id":"b"}')

    async def settle(self) -> None:
        """Let everything happen that can without time or bytes."""
        loop = cast(Any, asyncio.get_running_loop())
        for _ in range(1000):
            await asyncio.sleep(0)
            if not loop._ready:
                return
        raise AssertionError("the event loop does not come to rest")

    def deliver(self, *data: Any, mutation: str = "createMessage") -> None:
        self.harness.deliver(*data, mutation=mutation)

    def check_bystander(self) -> None:
        """An event for the bystander arrives there, alone and whole."""
        self._rooms += 1
        self.deliver({"id": f"r{self._rooms}", "name": "n"}, mutation="createRoom")
        (frame,) = read_frames(self.bystander.take_written())
        payload = {"data": {"onCreateRoom": {"id": f"r{self._rooms}", "name": "n"}}}
        assert orjson.loads(frame.data) == {"type": "data", "id": "b", "payload": payload}

    def check_only_bystander_left(self) -> None:
        """Nothing of any other connection is left in what connections share."""
        metrics = self.harness.metrics
        assert (metrics.subscriptions, metrics.groups) == (1, 1)
        assert metrics.connections.total() == len(self.harness.gateway) == 1
        assert len(self.harness.directory.registered) == 1
        assert self._state.connections == {self.bystander.protocol}


class WireRunner:
    """Runs examples on one wire, since making one takes longer than most examples; after a failure on a new one."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._stack: ExitStack | None = None

    def run(self, example: Callable[[Wire], Coroutine[Any, Any, None]]) -> None:
        """Run one example; fails also if a defect of ours was logged meanwhile."""
        if self._stack is None:
            self._stack = ExitStack()
            self._runner = self._stack.enter_context(asyncio.Runner())
            self._wire = Wire(**self._settings)
            self._runner.run(self._wire.start())
        try:
            with nothing_heard() as witness:
                witness.hear_loop(self._runner.get_loop())
                self._runner.run(example(self._wire))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._stack is not None:
            self._stack.close()
            self._stack = None


def upgrade_request(path: str, headers: list[tuple[str, str]]) -> bytes:
    """As uvicorn writes it out again: names in lower case."""
    given = [
        ("host", "localhost"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        *((name.lower(), value) for name, value in headers),
    ]
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given), "", ""]
    return "\r\n".join(lines).encode("latin-1", "replace")


def client_frame(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    """A frame of a client whose mask changes nothing, so that failing examples can be read and run again."""
    return bytes([opcode | (0x80 if fin else 0)]) + _masked_length(len(payload)) + payload


def _masked_length(length: int) -> bytes:
    """Length and mask (RFC 6455 section 5.2)."""
    if length < 126:
        return bytes([0x80 | length]) + _MASK
    if length < 65536:
        return b"\xfe" + length.to_bytes(2, "big") + _MASK
    return b"\xff" + length.to_bytes(8, "big") + _MASK


def measure_retained_bytes(root: object, shared: tuple[object, ...]) -> int:
    """What `root` keeps in memory, without what is `shared` and without code."""
    seen = {id(thing) for thing in shared}
    pending: list[object] = [root]
    total = 0
    while pending:
        thing = pending.pop()
        if id(thing) in seen or isinstance(thing, type | types.ModuleType | types.FunctionType | types.CodeType):
            continue
        seen.add(id(thing))
        total += sys.getsizeof(thing)
        pending += gc.get_referents(thing)
    return total
