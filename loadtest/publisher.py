"""Publishing of a benchmark: events into a Redis stream, many per write, at a rate or with a bounded lead.

Knows no connection of a subscriber. Redis is spoken to over a plain socket with prepared bytes, because the publisher
shares its core with Redis and the clients, and every microsecond it takes is missing there.
"""

from __future__ import annotations

import random
import re
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlsplit

from loadtest import chat
from loadtest.marks import Mark, build_key, name_room

STREAM = "fanout:events"
_STREAM_LENGTH = 100_000  # far above any lead; keeps Redis small
_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_HEAD = b"*10\r\n$4\r\nXADD\r\n$%d\r\n%s\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n$%d\r\n%d\r\n$1\r\n*\r\n" % (
    len(STREAM),
    STREAM.encode(),
    len(str(_STREAM_LENGTH)),
    _STREAM_LENGTH,
)
_TAIL = b"$8\r\nmutation\r\n$%d\r\n%s\r\n$4\r\ndata\r\n" % (len(chat.MUTATION), chat.MUTATION.encode())

# At some thousand events per second one write for each would take half of the core that clients and Redis share.
_SHORTEST_PAUSE_S = 0.002
_HOST, _END_OF_HEAD = b"localhost", b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

Publish = Callable[[Sequence[Mark]], None]
"""Publishes events in order and returns when they are accepted."""


class PublishError(Exception):
    """Redis refused an event; the text is its own."""


class StreamPublisher:
    """One connection to Redis. Use `open_publisher`.

    Args:
        connection: connected.
        at_once: put several events of one call in a transaction, so that a reader sees all of them or none.
    """

    def __init__(self, connection: socket.socket, *, at_once: bool) -> None:
        self._connection = connection
        self._at_once = at_once

    def publish(self, marks: Sequence[Mark]) -> None:
        """XADD events in order, in one write.

        Raises:
            PublishError: Redis answered with an error.
        """
        commands = [_build_xadd(message) for message in build_messages(marks)]
        is_transaction = self._at_once and len(commands) > 1
        if is_transaction:
            commands = [_MULTI, *commands, _EXEC]
        self._connection.sendall(b"".join(commands))
        # Each reply to XADD is one length and one id; in a transaction each is `+QUEUED` first.
        self._await_lines(2 * len(marks) + (len(marks) + 2 if is_transaction else 0))

    def _await_lines(self, count: int) -> None:
        replies = b""
        while replies.count(b"\n") < count:
            data = self._connection.recv(65536)
            if not data:
                raise PublishError("Redis closed the connection")
            replies += data
            if replies.startswith(b"-") or b"\n-" in replies:
                raise PublishError(replies.decode(errors="replace")[:300])


@contextmanager
def open_publisher(redis_url: str, *, at_once: bool = False) -> Iterator[StreamPublisher]:
    """Connect to `unix://PATH` or `redis://HOST:PORT` without a password.

    Raises:
        OSError: nobody there.
    """
    parts = urlsplit(redis_url)
    if parts.scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(parts.path)
    else:
        connection = socket.create_connection((parts.hostname or "127.0.0.1", parts.port or 6379))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection:
        yield StreamPublisher(connection, at_once=at_once)


def build_messages(marks: Sequence[Mark]) -> Iterator[bytes]:
    """The JSON of each event's message, with the fields in the order that subscribers select."""
    created_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for mark in marks:
        # What json.dumps would write for `chat.build_message`; none of it needs escapes.
        yield (
            f'{{"id":"{mark.room}-{mark.sequence}","roomId":"{name_room(mark.room)}","author":"load test",'
            f'"content":"{build_key(mark)}","createdAt":"{created_at}"}}'
        ).encode()


@dataclass(slots=True)
class Sequencer:
    """Numbers events room by room, as they are published."""

    counts: dict[int, int]

    def next_mark(self, room: int, intended_ns: int = 0) -> Mark:
        """The next event of a room."""
        sequence = self.counts.get(room, 0) + 1
        self.counts[room] = sequence
        return Mark(room, sequence, intended_ns)


def publish_with_lead(
    publish: Publish,
    draw: Callable[[], Mark],
    count_lead: Callable[[], int],
    *,
    lead: int,
    batch: int,
    seconds: float,
) -> int:
    """Publish as fast as events are taken: at most `lead` of them on their way at a time.

    Args:
        publish: takes a batch.
        draw: makes the next event, which is then published.
        count_lead: how many events are on their way.
        lead: bound of that.
        batch: events per write.
        seconds: how long.

    Returns:
        How many events were published.
    """
    deadline = time.monotonic() + seconds
    events = 0
    while time.monotonic() < deadline:
        if count_lead() + batch > lead:
            time.sleep(0.0005)
            continue
        publish([draw() for _ in range(batch)])
        events += batch
    return events


def publish_at_rate(
    publish: Publish, draw: Callable[[int], Mark], *, events_per_s: float, seconds: float
) -> tuple[int, float]:
    """Publish at a fixed rate, whatever happens to the events: an open loop, so that a stall is not left out.

    An event that could not be sent when it was intended is sent as soon as possible, and its intended time stays. What
    is due within 2 ms goes out in one write.

    Args:
        publish: takes what is due.
        draw: makes an event by its intended time in monotonic ns.
        events_per_s: the rate.
        seconds: how long.

    Returns:
        How many events were published, and by how many seconds one was late at most.
    """
    total = int(events_per_s * seconds)
    began_ns = time.monotonic_ns()
    interval_ns = 1e9 / events_per_s
    sent = 0
    late_s = 0.0
    while sent < total:
        elapsed_ns = time.monotonic_ns() - began_ns
        due = min(int(elapsed_ns / interval_ns) + 1, total)
        if due > sent:
            publish([draw(began_ns + int(number * interval_ns)) for number in range(sent, due)])
            late_s = max(late_s, (elapsed_ns - sent * interval_ns) / 1e9)
            sent = due
        else:
            time.sleep(max((sent * interval_ns - elapsed_ns) / 1e9, _SHORTEST_PAUSE_S))
    return sent, late_s


def draw_rooms(rooms: int, seed: int) -> Callable[[], int]:
    """Random rooms, the same in every run."""
    generator = random.Random(seed)
    return lambda: int(generator.random() * rooms)


def post(connection: socket.socket, body: bytes, name: str) -> None:
    """POST an event to `/publish` of something that the service is compared with; returns when it has answered.

    Raises:
        OSError: it refused the event, or closed the connection; `name` says who.
    """
    connection.sendall(b"POST /publish HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s" % (_HOST, len(body), body))
    answer = b""
    head, end, rest = answer.partition(_END_OF_HEAD)
    while not end or len(rest) < _read_length(head):
        data = connection.recv(65536)
        if not data:
            raise OSError(f"{name} closed the connection")
        answer += data
        head, end, rest = answer.partition(_END_OF_HEAD)
    if not answer.startswith(b"HTTP/1.1 2"):
        raise OSError(f"{name} answered {answer[:200]!r}")


def _read_length(head: bytes) -> int:
    found = _LENGTH.search(head)
    return int(found[1]) if found else 0


def _build_xadd(message: bytes) -> bytes:
    return b"%s%s$%d\r\n%s\r\n" % (_HEAD, _TAIL, len(message), message)
