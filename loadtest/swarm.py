"""Thousands of subscribed AppSync connections in one process: plain descriptors, one epoll, no object per connection.

Hot: what a receipt costs here is in the figures that are measured with it, 3 to 5 us of which most is the kernel's.
So messages are compared, not parsed: subscribers of a room get the same bytes but for their own subscription id, and
only the first of each kind is read in full. Every receipt is still checked: right id, right room, each event once,
none left out, in the order of publishing. A connection costs this process 60 bytes.

One module of 500 lines, since the loop reads and writes all of the books: split, each receipt would pay for calls.

Linux only. Knows the chat API through `loadtest.chat`, what identifies an event through `loadtest.marks`; knows no
Redis and no other process.
"""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from loadtest import appsync, chat, frames
from loadtest.marks import EVERYBODY, ID_BYTES, ID_FORMAT, Mark, build_id, name_room, read_id, read_key

_CONNECTING, _UPGRADING, _INITIALISING, _STARTING, _LIVE, _CLOSED, _WATCHED = range(7)
_PHASES = ("connecting", "upgrading", "initialising", "starting", "live", "closed", "watched")
_READ_BYTES = 16 * 1024
_EVENTS_PER_POLL = 1024
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python names it from 3.12 on
_CONNECTIONS_PER_SOURCE = 5_000  # far below the ports of one address, whose reuse has to wait a minute
_SOURCES = 200  # 127.0.0.2 onwards
_SHAPES_KEPT = 4096
_ANY_ID = b"*" * ID_BYTES
_EXAMPLES_KEPT = 5
_INIT = frames.build_frame(appsync.CONNECTION_INIT.encode())


class SwarmError(Exception):
    """The connections could not all be made; the text says how many and what was seen."""


class Opening(Enum):
    """How a connection becomes live.

    By AppSync's handshake; by its bare id, which `loadtest.floor` takes; or, as for `loadtest.peers`, by an upgrade to
    the path of its room and nothing more. In a channel everybody is sent the same bytes, with the id of number 0.
    """

    APPSYNC = "appsync"
    BARE = "bare"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who connects where: what a swarm, or a fleet of them, is made of.

    `url` is the base URL of the service, `http://` on a loopback address. `count` connections have `per_connection`
    subscriptions each, on `rooms` rooms; with `hears_everybody` each hears `EVERYBODY` too, by the same
    subscription. `deflate` offers compression and insists on it. `window` connections may be on their way at a time.
    """

    url: str
    api_key: str
    count: int
    rooms: int = 1
    per_connection: int = 1
    hears_everybody: bool = False
    deflate: bool = False
    opening: Opening = Opening.APPSYNC
    window: int = 256


class _Run(NamedTuple):
    """Events of one room with consecutive numbers, as they lie in the bytes of one read; without a room: `ka`s."""

    room: int | None
    begin: int
    after: int
    intended_ns: tuple[int, ...]


class Swarm:
    """The connections, and the books of what they received.

    Connections and subscriptions have numbers: connection c of the crowd has subscriptions c * per_connection and so
    on. Books are kept by subscription.

    Args:
        crowd: what all processes together are to connect.
        first: number of the first connection that this one makes.
        count: how many; None for all.

    Raises:
        ValueError: the URL is not one that a swarm connects to, or too many subscriptions a connection.
    """

    def __init__(self, crowd: Crowd, first: int = 0, count: int | None = None) -> None:
        parts = urlsplit(crowd.url)
        if parts.scheme != "http" or not (parts.hostname or "").startswith("127.") or parts.port is None:
            raise ValueError(f"{crowd.url}: the swarm connects to http://127.x.x.x:PORT only")
        if not 1 <= crowd.per_connection <= 8:
            raise ValueError(f"{crowd.per_connection} subscriptions a connection: from 1 to 8")
        self.count = crowd.count if count is None else count
        self.live = 0
        self.receipts = 0
        self.written_off = 0
        self.keep_alives = 0
        self.bytes_received = 0
        self.faults: Counter[str] = Counter()
        self.examples: list[str] = []
        self._latencies_ns: array[int] | None = None
        self._crowd = crowd
        self._address = (parts.hostname, parts.port)
        self._header_object = appsync.build_header_object(f"{crowd.url}/graphql", crowd.api_key)
        header = appsync.build_header_subprotocol(self._header_object)
        subprotocols = (appsync.SUBPROTOCOL, header)
        if crowd.opening is Opening.CHANNEL:
            self._upgrade = frames.build_upgrade(parts.netloc, f"/{name_room(0)}", ())
        else:
            self._upgrade = frames.build_upgrade(parts.netloc, "/graphql", subprotocols, deflate=crowd.deflate)
        self._start = self._build_start()
        self._first = first
        self._epoll = select.epoll()
        self._descriptors = array("i", [-1]) * self.count
        self._phases = bytearray(self.count + 1)
        self._phases[self.count] = _WATCHED
        self._started = bytearray(self.count)  # a bit for each subscription
        self._next = array("I", [1]) * (self.count * crowd.per_connection)
        self._next_everybody = array("I", [1]) * (len(self._next) if crowd.hears_everybody else 0)
        self._numbers = array("i")
        self._tails: dict[int, bytes] = {}
        self._known: dict[bytes, list[_Run]] = {}
        self._ids = b"".join(ID_FORMAT % (first + number) for number in range(self.count))
        self._id_offset = 0
        self._watcher: Callable[[], None] | None = None
        self._opened = 0

    @property
    def accounted(self) -> int:
        """Deliveries that came or were found missing."""
        return self.receipts + self.written_off

    def watch(self, descriptor: int, watcher: Callable[[], None]) -> None:
        """Call this whenever the descriptor can be read, from within `poll`."""
        self._watcher = watcher
        self._remember(descriptor, self.count)
        self._epoll.register(descriptor, select.EPOLLIN)

    def connect(self, timeout_s: float = 120.0) -> None:
        """Open, initialise and subscribe all connections; returns after the last `start_ack`.

        Raises:
            SwarmError: not all are live after `timeout_s`, or one was refused or closed.
        """
        deadline = time.monotonic() + timeout_s
        while not self.open_more():
            self.poll(1.0)
            if time.monotonic() > deadline:
                raise SwarmError(self.describe_state())

    def open_more(self) -> bool:
        """Start as many connections as the window allows; True once all are live. Never waits.

        Raises:
            SwarmError: one was refused or closed.
        """
        while self._opened < self.count and self._opened - self.live < self._crowd.window and not self.faults:
            self._open(self._opened)
            self._opened += 1
        if self.faults:
            raise SwarmError(self.describe_state())
        return self.live == self.count

    def poll(self, timeout_s: float) -> bool:
        """Handle what is ready, wait for it at most `timeout_s`; False if nothing was."""
        ready = self._epoll.poll(timeout_s, _EVENTS_PER_POLL)
        # Local names: this loop is most of what a receipt costs besides the kernel.
        numbers, phases, following, known, tails = self._numbers, self._phases, self._next, self._known, self._tails
        first, rooms, latencies_ns = self._first, self._crowd.rooms, self._latencies_ns
        has_own_bytes, ids, offset = self._crowd.per_connection == 1, self._ids, self._id_offset
        received = taken_bytes = 0
        for descriptor, event in ready:
            number = numbers[descriptor]
            try:
                if phases[number] != _LIVE:
                    self._advance(number, descriptor, event)
                    continue
                data = os.read(descriptor, _READ_BYTES)
                taken_bytes += len(data)
                runs = None
                if has_own_bytes:
                    # One message, most often: its bytes without the id are looked up, and the id is compared, which
                    # is three times as fast as to replace it wherever it is.
                    id = ids[number * ID_BYTES : (number + 1) * ID_BYTES]
                    if data[offset : offset + ID_BYTES] == id:
                        runs = known.get(data[:offset] + data[offset + ID_BYTES :])
                    if runs is None:
                        runs = known.get(data.replace(id, _ANY_ID))
                if runs is None or (tails and number in tails):
                    self._take(number, data)
                    continue
                for run in runs:
                    room, begin, after, intended_ns = run
                    if room == (first + number) % rooms and following[number] == begin:
                        following[number] = after
                        received += after - begin
                        if latencies_ns is not None:
                            now_ns = time.monotonic_ns()
                            for intended in intended_ns:
                                latencies_ns.append(now_ns - intended)
                    else:
                        self._book(number, number, run)
            except (OSError, frames.FrameError, ValueError) as error:
                self._fail(number, str(error))
        self.receipts += received
        self.bytes_received += taken_bytes
        return bool(ready)

    def keep_latencies(self) -> None:
        """From now on keep the time from each event's intended publication to its receipt."""
        self._latencies_ns = array("q")

    def take_latencies(self) -> array[int]:
        """What was kept, in ns and in the order of receipt; nothing is kept from now on."""
        kept, self._latencies_ns = self._latencies_ns, None
        return array("q") if kept is None else kept

    def settle(self, quiet_s: float = 0.5) -> None:
        """Take what comes until no event has come for `quiet_s`: strays and duplicates that are on their way.

        Signs of life are no events: of many connections, some come all the time.
        """
        quiet_at = time.monotonic() + quiet_s
        while True:
            booked = self.accounted + self.faults.total()
            self.poll(max(quiet_at - time.monotonic(), 0.0))
            if self.accounted + self.faults.total() != booked:
                quiet_at = time.monotonic() + quiet_s
            elif time.monotonic() >= quiet_at:
                return

    def reconcile(self, published: Mapping[int, int]) -> None:
        """Book as missing whatever of the published events has not come, and what came and was not published.

        Args:
            published: by number of the room, how many events.
        """
        crowd = self._crowd
        for index in range(len(self._next)):
            room = (self._first * crowd.per_connection + index) % crowd.rooms
            self._write_off(index, self._next, published.get(room, 0))
            if crowd.hears_everybody:
                self._write_off(index, self._next_everybody, published.get(EVERYBODY, 0))

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

    def describe_state(self) -> str:
        """How many connections are how far, and the faults; one line."""
        seen = Counter(_PHASES[phase] for phase in self._phases[: self._opened])
        return f"{self.live} of {self.count} live, {dict(seen)}; {self.describe_faults()}"

    def _build_start(self) -> bytes:
        """The frame of subscription 0; another one differs in id and room, which all have one length."""
        crowd = self._crowd
        query: str
        variables: dict[str, Any]
        if crowd.hears_everybody:
            query, variables = chat.SUBSCRIBE_TO_ROOMS, {"rooms": [name_room(0), name_room(EVERYBODY)]}
        else:
            query, variables = chat.SUBSCRIBE, {"roomId": name_room(0)}
        return frames.build_frame(appsync.build_start(build_id(0), query, variables, self._header_object).encode())

    def _open(self, number: int) -> None:
        source = (self._first + number) // _CONNECTIONS_PER_SOURCE % _SOURCES
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as connection:
            # The port is then chosen by the whole four-tuple, which is what lets one address have so many.
            connection.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((f"127.0.0.{2 + source}", 0))
            outcome = connection.connect_ex(self._address)
            if outcome not in (0, errno.EINPROGRESS):
                raise SwarmError(f"connection {number}: {os.strerror(outcome)}")
            descriptor = connection.detach()
        self._descriptors[number] = descriptor
        self._remember(descriptor, number)
        self._epoll.register(descriptor, select.EPOLLOUT)

    def _remember(self, descriptor: int, number: int) -> None:
        missing = descriptor + 1 - len(self._numbers)
        if missing > 0:
            self._numbers.extend([-1] * missing)
        self._numbers[descriptor] = number

    def _advance(self, number: int, descriptor: int, event: int) -> None:
        """What is ready is no event for a live subscription."""
        phase = self._phases[number]
        if phase == _CONNECTING:
            if self._crowd.opening is Opening.BARE:
                self._send(number, ID_FORMAT % (self._first + number))
                self._phases[number] = _STARTING
            else:
                self._send(number, self._upgrade)
                self._phases[number] = _UPGRADING
            self._epoll.modify(descriptor, select.EPOLLIN)
        elif phase == _WATCHED:
            assert self._watcher is not None
            self._watcher()
        elif event & ~select.EPOLLOUT:
            self._take(number, os.read(descriptor, _READ_BYTES))

    def _take(self, number: int, data: bytes) -> None:
        if not data:
            raise frames.FrameError("closed without a close frame")
        if number in self._tails:
            data = self._tails.pop(number) + data
        if self._phases[number] == _UPGRADING:
            is_channel = self._crowd.opening is Opening.CHANNEL
            subprotocol = "" if is_channel else appsync.SUBPROTOCOL
            rest = frames.split_upgrade(data, subprotocol, deflate=self._crowd.deflate)
            if rest is None:
                self._tails[number] = data
                return
            if is_channel:
                self._phases[number] = _LIVE
                self.live += 1
            else:
                self._send(number, _INIT)
                self._phases[number] = _INITIALISING
            data = rest
        self._read(number, data)

    def _read(self, number: int, data: bytes) -> None:
        """Parse what `data` holds, act on it, and remember it if it is whole events only."""
        whole, rest = frames.split_frames(data, deflate=self._crowd.deflate)
        if rest:
            self._tails[number] = rest
        seen: list[tuple[int, Mark] | None] = []
        is_plain = not rest
        try:
            for frame in whole:
                is_plain &= self._read_frame(number, frame, seen)
        finally:
            # Also what came before a close frame in the same read.
            runs = [(index, run) for index, found in groupby(seen, _index_of) for run in _find_runs(found)]
            for index, run in runs:
                self._book(number, index, run)
        if is_plain and self._crowd.per_connection == 1:
            if len(self._known) >= _SHAPES_KEPT:
                self._known.clear()
            id = ID_FORMAT % (self._first + number)
            if len(whole) == 1 and id in data:
                self._id_offset = data.index(id)
                shape = data[: self._id_offset] + data[self._id_offset + ID_BYTES :]
            else:
                shape = data.replace(id, _ANY_ID)
            self._known[shape] = [run for _, run in runs]

    def _read_frame(self, number: int, frame: frames.Frame, seen: list[tuple[int, Mark] | None]) -> bool:
        """Act on a frame; True if it is only to be booked, which `seen` then holds."""
        if frame.opcode == frames.PING:
            self._send(number, frames.build_frame(frame.payload, frames.PONG))
            return False
        if frame.opcode == frames.CLOSE:
            code = int.from_bytes(frame.payload[:2], "big")
            raise frames.FrameError(f"closed with {code} {frame.payload[2:].decode(errors='replace')}")
        if frame.opcode != frames.TEXT:
            raise frames.FrameError(f"frame with opcode {frame.opcode}")
        message = json.loads(frame.payload)
        match message, self._phases[number]:
            case {"type": "data", "id": str(id), "payload": payload}, phase if phase == _LIVE:
                seen.append((self._find_index(number, id), read_key(chat.read_key(payload))))
            case {"type": "ka"}, _:
                seen.append(None)
            case _:
                self._converse(number, message)
                return False
        return True

    def _find_index(self, number: int, id: str) -> int:
        """The place in the books of a connection's subscription, by its id."""
        if self._crowd.opening is Opening.CHANNEL and read_id(id) == 0:
            return number
        per_connection = self._crowd.per_connection
        index = read_id(id) - self._first * per_connection
        if index // per_connection != number:
            raise ValueError(f"a message for {id}, which is another connection's")
        return index

    def _converse(self, number: int, message: dict[str, Any]) -> None:
        per_connection = self._crowd.per_connection
        base = (self._first + number) * per_connection
        match message, self._phases[number]:
            case {"type": "connection_ack"}, phase if phase == _INITIALISING:
                self._phases[number] = _STARTING
                for subscription in range(base, base + per_connection):
                    own_id, room = ID_FORMAT % subscription, name_room(subscription % self._crowd.rooms).encode()
                    start = self._start.replace(ID_FORMAT % 0, own_id)
                    self._send(number, start.replace(name_room(0).encode(), room))
            case {"type": "start_ack", "id": str(id)}, phase if phase == _STARTING:
                bit = 1 << self._find_index(number, id) % per_connection
                if self._started[number] & bit:
                    raise frames.FrameError(f"a second start_ack for {id}")
                self._started[number] |= bit
                if self._started[number] == (1 << per_connection) - 1:
                    self._phases[number] = _LIVE
                    self.live += 1
            case _:
                raise frames.FrameError(f"while {_PHASES[self._phases[number]]}: {json.dumps(message)[:300]}")

    def _book(self, number: int, index: int, run: _Run) -> None:
        """Book a run for the subscription at `index`, whatever it is."""
        if run.room is None:
            self.keep_alives += run.after - run.begin
            return
        subscription = self._first * self._crowd.per_connection + index
        if run.room == EVERYBODY and self._crowd.hears_everybody:
            following = self._next_everybody
        elif run.room == subscription % self._crowd.rooms:
            following = self._next
        else:
            self._note("stray", f"connection {number} got {run.begin} of room {run.room}", run.after - run.begin)
            return
        expected = following[index]
        what = f"connection {number} got {run.begin} of room {run.room}, expected {expected}"
        if run.begin < expected:
            self._note("duplicate or out of order", what, min(run.after, expected) - run.begin)
        elif run.begin > expected:
            self._note("missing", what, run.begin - expected)
            self.written_off += run.begin - expected
        if run.after <= expected:
            return
        following[index] = run.after
        self.receipts += run.after - max(run.begin, expected)
        if self._latencies_ns is not None:
            now_ns = time.monotonic_ns()
            self._latencies_ns.extend(now_ns - intended for intended in run.intended_ns)

    def _write_off(self, index: int, following: array[int], published: int) -> None:
        absent = published + 1 - following[index]
        if absent == 0:
            return
        number = index // self._crowd.per_connection
        what = f"connection {number} ({_PHASES[self._phases[number]]})"
        if absent > 0:
            self._note("missing", f"{what} lacks {absent} at its end", absent)
            self.written_off += absent
        else:
            self._note("never published", f"{what} got {-absent} that nobody published", -absent)
            self.receipts += absent
        following[index] = published + 1

    def _send(self, number: int, data: bytes) -> None:
        # What a client sends is far smaller than a socket's buffer, which is empty when it is sent.
        if os.write(self._descriptors[number], data) != len(data):
            raise frames.FrameError("the socket took a part of a small message only")

    def _fail(self, number: int, what: str) -> None:
        descriptor = self._descriptors[number]
        self._note("connection", f"connection {number} while {_PHASES[self._phases[number]]}: {what}")
        if self._phases[number] == _LIVE:
            self.live -= 1
        self._phases[number] = _CLOSED
        self._tails.pop(number, None)
        self._epoll.unregister(descriptor)
        os.close(descriptor)
        self._descriptors[number] = -1

    def _note(self, kind: str, example: str, times: int = 1) -> None:
        self.faults[kind] += times
        if len(self.examples) < _EXAMPLES_KEPT:
            self.examples.append(example)


def _index_of(found: tuple[int, Mark] | None) -> int:
    return -1 if found is None else found[0]


def _find_runs(found: Any) -> list[_Run]:
    """Events of one subscription in the order of the wire, joined as far as their numbers follow each other."""
    runs: list[_Run] = []
    for item in found:
        if item is None:
            runs.append(_Run(None, 0, 1, ()))
            continue
        mark = item[1]
        if runs and runs[-1].room == mark.room and runs[-1].after == mark.sequence:
            last = runs[-1]
            runs[-1] = _Run(mark.room, last.begin, mark.sequence + 1, (*last.intended_ns, mark.intended_ns))
        else:
            runs.append(_Run(mark.room, mark.sequence, mark.sequence + 1, (mark.intended_ns,)))
    return runs
