"""A small model of streams, their router and one gateway, in which everything can happen at every wait.

It is what `fanout.engine.History` promises, in plain lists: the tests of rounds run on it. `step` is called wherever
the code under test waits; what it does there is the test's choice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from fanout.engine import CatchUp, Chunk, Dispatcher, Group, HistoryGone, Joining, Look, Place, Places, Registry, Token
from fanout.errors import ClientFault, PositionExpired, Unavailable
from fanout.metrics import Metrics
from fanout.model import Event
from filters import Filter, build_equality_filter

START: Place = (0, 0)
FIELDS = {"create": ("onCreate",)}


class Projection:
    key = "p"

    def project(self, data: object) -> bytes:
        return orjson.dumps({"data": data})

    def too_large(self, size: int, limit: int) -> bytes:
        raise AssertionError


def join_parts(payloads: Sequence[bytes], id_length: int) -> list[bytes]:
    """One line per payload: the id, a space, the payload."""
    return [b"", *(b" " + payload + b"\n" for payload in payloads[:-1]), b" " + payloads[-1] + b"\n"]


class Buffer:
    """What was written to one connection and not read yet, in messages."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.unread = 0


class Client(Joining):
    """A subscriber of one room, who remembers what came."""

    __slots__ = ("buffer", "fault", "got", "has_begun", "is_live", "missed", "room", "world")

    def __init__(self, world: World, room: str, after: Token | None, buffer: Buffer) -> None:
        filter = build_equality_filter({"room": room})
        super().__init__(world.find_group(room, filter), filter, b'"x"', after)
        self.world = world
        self.room = room
        self.buffer = buffer
        self.got: list[dict[str, Any]] = []
        self.has_begun: bytes | None = None
        self.fault: ClientFault | None = None
        self.missed: str | None = None
        self.is_live = False

    def begin(self, position: bytes) -> None:
        assert self.has_begun is None
        self.has_begun = position

    def refuse(self, fault: ClientFault) -> None:
        assert self.has_begun is None
        self.fault = fault

    def write(self, data: bytes) -> None:
        assert self.has_begun is not None, "acknowledged before anything is written"
        assert not (self.is_congested and not self.is_live), "nothing is written to one who has to read first"
        lines = data.split(b"\n")[:-1]
        self.buffer.unread += len(lines)
        self.got += [orjson.loads(line.removeprefix(b'"x" ')) for line in lines]

    @property
    def is_congested(self) -> bool:
        return self.buffer.unread >= self.buffer.capacity

    def read(self) -> None:
        self.buffer.unread = 0
        self.world.catch_up.wake()

    def go_live(self) -> None:
        assert not self.is_live
        self.is_live = True
        self.world.registry.add(self.group, self.id_bytes, self.write)

    def miss(self, reason: str) -> None:
        assert not self.is_live
        self.missed = reason


class World:
    """Streams with entries, a router that goes over them, and a gateway that takes what is for it.

    Args:
        streams: how many.
        step: called at every wait.
    """

    def __init__(self, streams: int = 1, step: Callable[[], None] = lambda: None) -> None:
        self.step = step
        self.entries: list[list[tuple[Place, Event]]] = [[] for _ in range(streams)]
        self.removed = [START] * streams
        self.routed = [0] * streams
        self.taken_places: list[Place] = [START] * streams
        self.epoch = b"epoch---"
        self.is_away = False
        self.chunk_entries = 3
        self.reads = 0
        self.delivered: list[tuple[int, Place, str]] = []
        self.rooms_promised: set[str] = set()
        self.metrics = Metrics()
        self.registry = Registry(self.metrics)
        self.dispatcher = Dispatcher(
            self.registry, FIELDS.__getitem__, 10**6, self.metrics, lambda: 0, self._write_position
        )
        self.catch_up = CatchUp(self, self.dispatcher, self.metrics)
        self._clock = 0

    @classmethod
    def with_past(cls, count: int) -> World:
        """One stream, of which so many events of the room "a" have been published and routed."""
        world = cls()
        for _ in range(count):
            world.publish("a")
        world.route_all()
        return world

    # What the test does

    def publish(self, room: str, stream: int = 0) -> Event:
        self._clock += 1
        place = (self._clock, 0)
        data = {"room": room, "stream": stream, "at": self._clock}
        event = Event(f"{self._clock}-0", "create", data, orjson.dumps(data), 0)
        self.entries[stream].append((place, event))
        return event

    def route(self, stream: int = 0, *, is_for_us: bool = False) -> None:
        """Route one entry: it comes here if somebody is promised it, or as chance has it."""
        if self.routed[stream] == len(self.entries[stream]):
            return
        place, event = self.entries[stream][self.routed[stream]]
        self.routed[stream] += 1
        if is_for_us or event.data["room"] in self.rooms_promised:
            self.taken_places[stream] = place
            self.delivered.append((stream, place, event.data["room"]))
            self.catch_up.deliver(str(stream), [event])

    def route_all(self) -> None:
        for stream in range(len(self.entries)):
            while self.routed[stream] < len(self.entries[stream]):
                self.route(stream)

    def trim(self, stream: int, keep: int) -> None:
        """Remove the oldest entries that were routed."""
        routed = self.entries[stream][: self.routed[stream]]
        removable = [place for place, _ in routed][: max(0, len(self.entries[stream]) - keep)]
        if removable:
            self.removed[stream] = max(self.removed[stream], removable[-1])

    def join(
        self, room: str, after: Places | None = None, capacity: int = 10**9, beside: Client | None = None
    ) -> Client:
        """A subscriber whose buckets are registered by now, on a connection of its own or beside another."""
        self.rooms_promised.add(room)
        token = None if after is None else Token((self.epoch,) * len(self.entries), after)
        client = Client(self, room, token, beside.buffer if beside else Buffer(capacity))
        self.catch_up.join(client)
        return client

    def find_group(self, room: str, filter: Filter) -> Group:
        return self.registry.find_or_create("onCreate", filter, PROJECTION, "f", join_parts, True)[0]

    def expect(self, room: str, after: Places) -> list[list[int]]:
        """By stream, what a subscriber of a room has to get after a place, in order."""
        return [
            [event.data["at"] for place, event in entries if place > after[stream] and event.data["room"] == room]
            for stream, entries in enumerate(self.entries)
        ]

    # What History promises

    def taken(self) -> Places:
        return tuple(self.taken_places)

    def write_token(self, places: Places) -> bytes:
        return orjson.dumps(places)

    def find_stream(self, name: str) -> int:
        return int(name)

    async def look(self, tokens: Sequence[Token | None]) -> Look:
        await self._wait()
        ends = tuple(entries[-1][0] if entries else START for entries in self.entries)
        starts = [ends if token is None else self._check(token) for token in tokens]
        await self._wait()
        return Look(ends, starts)

    async def advance(self) -> None:
        await self._wait()
        for stream, routed in enumerate(self.routed):
            if routed:
                self.taken_places[stream] = max(self.taken_places[stream], self.entries[stream][routed - 1][0])
        await self._wait()

    async def read(self, stream: int, after: Place, up_to: Place) -> Chunk:
        assert after < up_to
        await self._wait()
        self.reads += 1
        if after < self.removed[stream]:
            raise HistoryGone
        entries = [entry for entry in self.entries[stream] if after < entry[0] <= up_to]
        chunk = entries[: self.chunk_entries]
        reached = up_to if len(entries) <= self.chunk_entries else chunk[-1][0]
        await self._wait()
        return Chunk(chunk, reached)

    def _check(self, token: Token) -> Places | PositionExpired:
        if any(place < removed for place, removed in zip(token.places, self.removed, strict=True)):
            return PositionExpired("trimmed")
        return token.places if set(token.epochs) == {self.epoch} else PositionExpired("replaced")

    def _write_position(self, stream: str, event_id: str) -> bytes:
        places = list(self.taken_places)
        places[int(stream)] = (int(event_id.partition("-")[0]), 0)
        return self.write_token(tuple(places))

    async def _wait(self) -> None:
        self.step()
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("away")


PROJECTION = Projection()


def read_position(payload: dict[str, Any]) -> Places:
    """The places that a payload tells."""
    token = payload["extensions"]["fanout"]["position"]
    return tuple((ms, number) for ms, number in orjson.loads(token))


async def until(condition: Callable[[], object], each: Callable[[], None] = lambda: None) -> None:
    """Let the event loop turn until a condition holds."""
    for _ in range(100_000):
        if condition():
            return
        each()
        await asyncio.sleep(0)
    raise AssertionError("it did not come true")
