"""Thousands of subscribed AppSync connections in one process: plain descriptors, one epoll, no object per connection.

Hot: what a receipt costs here is in the figures that are measured with it, about 5 us of which most is the kernel's.
So messages are compared, not parsed: subscribers of a room get the same bytes but for their own subscription id, and
only the first of each kind is read in full. Every receipt is still checked: right id, right room, each event once,
none left out, in the order of publishing.

Linux only. Knows the chat API through `loadtest.chat`; knows no locust and no Redis.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from loadtest import appsync, chat, frames

_CONNECTING, _UPGRADING, _INITIALISING, _STARTING, _LIVE, _CLOSED = range(6)
_PHASES = ("connecting", "upgrading", "initialising", "starting", "live", "closed")
_READ_BYTES = 16 * 1024
_EVENTS_PER_POLL = 1024
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python names it from 3.12 on
_CONNECTIONS_PER_SOURCE = 5_000  # far below the ports of one address, whose reuse has to wait a minute
_EXAMPLES_KEPT = 5
_INIT = frames.build_frame(appsync.CONNECTION_INIT.encode())


class SwarmError(Exception):
    """The connections could not all be made; the text says how many and what was seen."""


class _Mark(NamedTuple):
    """What identifies an event: number of its room, and its number in that room, from 1 on."""

    room: int
    sequence: int


class Swarm:
    """The connections, and the books of what they received.

    Args:
        url: base URL of the service, `http://` on a loopback address.
        api_key: for connecting and subscribing.
        rooms: names of rooms; connection number i subscribes to room i modulo their number.
        count: how many connections.
        window: how many of them may be on their way at a time.
        padding: characters added to an event's content, so that messages have a usual size.
    """

    def __init__(
        self, url: str, api_key: str, rooms: Sequence[str], count: int, *, window: int = 256, padding: int = 60
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not (parts.hostname or "").startswith("127.") or parts.port is None:
            raise ValueError(f"{url}: the swarm connects to http://127.x.x.x:PORT only")
        self.faults: Counter[str] = Counter()
        self.examples: list[str] = []
        self.receipts = 0
        self._address = (parts.hostname, parts.port)
        self._header_object = appsync.build_header_object(f"{url}/graphql", api_key)
        header = appsync.build_header_subprotocol(self._header_object)
        self._upgrade = frames.build_upgrade(parts.netloc, "/graphql", (appsync.SUBPROTOCOL, header))
        self._rooms = list(rooms)
        self._count = count
        self._window = window
        self._padding = "x" * padding
        self._sources = -(-count // _CONNECTIONS_PER_SOURCE)
        self._epoll = select.epoll()
        # By connection number. Ids have the length of Amplify's UUIDs, and each is another one.
        self._descriptors = [-1] * count
        self._ids = [f"{number:08x}-0000-4000-8000-000000000000".encode() for number in range(count)]
        self._phases = bytearray(count)
        self._next = [1] * count
        self._tails: dict[int, bytes] = {}
        self._number_of: dict[int, int] = {}
        self._live = 0
        self._published = [0] * len(self._rooms)
        self._known: dict[bytes, list[_Mark]] = {}
        self._due = 0

    def connect(self, timeout_s: float = 120.0) -> float:
        """Open, initialise and subscribe all connections; returns the seconds until the last `start_ack`.

        Raises:
            SwarmError: not all are live after `timeout_s`, or one was refused or closed.
        """
        began = time.perf_counter()
        opened = 0
        while self._live < self._count:
            while opened < self._count and opened - self._live < self._window:
                self._open(opened)
                opened += 1
            self._poll(1.0)
            if self.faults or time.perf_counter() - began > timeout_s:
                seen = Counter(_PHASES[phase] for phase in self._phases[:opened])
                raise SwarmError(f"{self._live} of {self._count} live, {dict(seen)}; {self.describe_faults()}")
        return time.perf_counter() - began

    def broadcast(self, room: int, publish: Callable[[str, str], None], timeout_s: float = 30.0) -> float:
        """Publish one event to a room; returns the seconds from before publishing to the last receipt.

        What has not come after `timeout_s` is booked as missing.

        Args:
            room: its number.
            publish: called with room name and event key; it has to send them as `roomId` and `content`.
        """
        self._published[room] += 1
        sequence = self._published[room]
        self._due += len(self._members(room))
        self._known.clear()
        began = time.perf_counter()
        publish(self._rooms[room], f"{room}/{sequence}/{self._padding}")
        while self._due > 0 and time.perf_counter() - began < timeout_s:
            self._poll(0.1)
        elapsed = time.perf_counter() - began
        if self._due > 0:
            self._write_off()
        return elapsed

    def settle(self, quiet_s: float = 0.5) -> None:
        """Take what comes until nothing has come for `quiet_s`: strays and duplicates that are on their way."""
        while self._poll(quiet_s):
            pass

    def close(self) -> None:
        """End all connections without a close handshake, as a crashed client would."""
        for number, descriptor in enumerate(self._descriptors):
            if descriptor >= 0:
                os.close(descriptor)
                self._descriptors[number] = -1
        self._epoll.close()

    def describe_faults(self) -> str:
        """The faults by kind, with a few examples; one line."""
        return f"faults: {dict(self.faults)} {'; '.join(self.examples)}" if self.faults else "no faults"

    def _members(self, room: int) -> range:
        return range(room, self._count, len(self._rooms))

    def _open(self, number: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
            # The port is then chosen by the whole four-tuple, which is what lets one address have so many.
            connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((f"127.0.0.{2 + number % self._sources}", 0))
            outcome = connection.connect_ex(self._address)
            if outcome not in (0, errno.EINPROGRESS):
                raise SwarmError(f"connection {number}: {os.strerror(outcome)}")
            descriptor = connection.detach()
        self._descriptors[number] = descriptor
        self._number_of[descriptor] = number
        self._epoll.register(descriptor, select.EPOLLOUT)

    def _poll(self, timeout_s: float) -> bool:
        """Handle what is ready; False if nothing was."""
        ready = self._epoll.poll(timeout_s, _EVENTS_PER_POLL)
        for descriptor, event in ready:
            number = self._number_of[descriptor]
            try:
                if self._phases[number] == _CONNECTING:
                    self._send(number, self._upgrade)
                    self._phases[number] = _UPGRADING
                    self._epoll.modify(descriptor, select.EPOLLIN)
                elif event & ~select.EPOLLOUT:
                    self._take(number, os.read(descriptor, _READ_BYTES))
            except (OSError, frames.FrameError, ValueError) as error:
                self._fail(number, str(error))
        return bool(ready)

    def _take(self, number: int, data: bytes) -> None:
        if not data:
            self._fail(number, "closed without a close frame")
            return
        if number in self._tails:
            data = self._tails.pop(number) + data
        if self._phases[number] == _UPGRADING:
            rest = frames.split_upgrade(data, appsync.SUBPROTOCOL)
            if rest is None:
                self._tails[number] = data
                return
            self._send(number, _INIT)
            self._phases[number] = _INITIALISING
            data = rest
        shape = data.replace(self._ids[number], b"*")
        marks = self._known.get(shape)
        if marks is None:
            self._read(number, data, shape)
        else:
            for mark in marks:
                self._book(number, mark)

    def _read(self, number: int, data: bytes, shape: bytes) -> None:
        """Parse what `data` holds, act on it, and remember it if it is whole events only."""
        whole, rest = frames.split_frames(data)
        marks: list[_Mark] = []
        for frame in whole:
            if frame.opcode == frames.TEXT:
                mark = self._read_message(number, json.loads(frame.payload))
                if mark is not None:
                    self._book(number, mark)
                    marks.append(mark)
            elif frame.opcode == frames.PING:
                self._send(number, frames.build_frame(frame.payload, frames.PONG))
            elif frame.opcode == frames.CLOSE:
                code = int.from_bytes(frame.payload[:2], "big")
                raise frames.FrameError(f"closed with {code} {frame.payload[2:].decode(errors='replace')}")
            else:
                raise frames.FrameError(f"frame with opcode {frame.opcode}")
        if rest:
            self._tails[number] = rest
        elif len(marks) == len(whole):
            self._known[shape] = marks

    def _read_message(self, number: int, message: dict[str, object]) -> _Mark | None:
        own_id = self._ids[number].decode()
        match message, self._phases[number]:
            case {"type": "data", "id": id, "payload": payload}, phase if phase == _LIVE and id == own_id:
                room, sequence, _ = chat.read_key(payload).split("/")
                return _Mark(int(room), int(sequence))
            case {"type": "connection_ack"}, phase if phase == _INITIALISING:
                variables = {"roomId": self._rooms[number % len(self._rooms)]}
                start = appsync.build_start(own_id, chat.SUBSCRIBE, variables, self._header_object)
                self._send(number, frames.build_frame(start.encode()))
                self._phases[number] = _STARTING
            case {"type": "start_ack", "id": id}, phase if phase == _STARTING and id == own_id:
                self._phases[number] = _LIVE
                self._live += 1
            case {"type": "ka"}, _:
                pass
            case _:
                raise frames.FrameError(f"while {_PHASES[self._phases[number]]}: {json.dumps(message)[:300]}")
        return None

    def _book(self, number: int, mark: _Mark) -> None:
        expected = self._next[number]
        if mark.room != number % len(self._rooms):
            self._note("stray", f"connection {number} got {mark}")
        elif mark.sequence == expected:
            self._next[number] = expected + 1
            self.receipts += 1
            self._due -= 1
        elif mark.sequence < expected:
            self._note("duplicate or out of order", f"connection {number} got {mark}, expected {expected}")
        else:
            skipped = mark.sequence - expected
            self._note("missing", f"connection {number} got {mark}, expected {expected}", skipped)
            self._next[number] = mark.sequence + 1
            self.receipts += 1
            self._due -= skipped + 1

    def _write_off(self) -> None:
        """Book everything that is due as missing."""
        for room, published in enumerate(self._published):
            for number in self._members(room):
                absent = published + 1 - self._next[number]
                if absent > 0:
                    self._note(
                        "missing", f"connection {number} ({_PHASES[self._phases[number]]}) lacks {absent}", absent
                    )
                    self._next[number] = published + 1
        self._due = 0

    def _send(self, number: int, data: bytes) -> None:
        # What a client sends is far smaller than a socket's buffer, which is empty when it is sent.
        if os.write(self._descriptors[number], data) != len(data):
            raise frames.FrameError("the socket took a part of a small message only")

    def _fail(self, number: int, what: str) -> None:
        descriptor = self._descriptors[number]
        self._note("connection", f"connection {number} while {_PHASES[self._phases[number]]}: {what}")
        if self._phases[number] == _LIVE:
            self._live -= 1
        self._phases[number] = _CLOSED
        self._epoll.unregister(descriptor)
        del self._number_of[descriptor]
        os.close(descriptor)
        self._descriptors[number] = -1

    def _note(self, kind: str, example: str, times: int = 1) -> None:
        self.faults[kind] += times
        if len(self.examples) < _EXAMPLES_KEPT:
            self.examples.append(example)
