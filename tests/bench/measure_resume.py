"""Figures of many clients resuming at once, for people: `python -m tests.bench.measure_resume` prints a Markdown table.

One gateway without sockets, a real Valkey beside it, as after the death of another gateway: everybody comes at once,
each with the position where it stopped, while events go on. Not a test and never asserted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

import orjson

from fanout.api import Api
from fanout.bus import Bus
from fanout.engine import CatchUp, Dispatcher, Group, Joining, Registry, Token, Wheel
from fanout.errors import ClientFault
from fanout.metrics import Metrics
from fanout.model import AuthMode, Event, Identity, NewEvent, SubscribeRequest
from fanout.protocol import APPSYNC, join_parts
from fanout.schema import load_chat_schema
from fanout.settings import Settings
from filters import Filter
from tests.bench.beside_valkey import run_beside_valkey

CLIENTS, ROOMS, EVENTS = 5_000, 100, 10_000
LIVE_EVENTS_PER_S = 100
QUERY = "subscription ($room: ID) { onCreateMessage(roomId: $room) { id roomId author content createdAt } }"
SOMEBODY = Identity(AuthMode.API_KEY)


class Client(Joining):
    """Counts what it is written."""

    __slots__ = ("gateway", "messages")

    def __init__(self, gateway: Gateway, group: Group, filter: Filter, number: int, after: Token) -> None:
        super().__init__(group, filter, b'"%036d"' % number, after)
        self.gateway = gateway
        self.messages = 0

    def begin(self, position: bytes) -> None:
        pass

    def refuse(self, fault: ClientFault) -> None:
        raise fault

    def miss(self, reason: str) -> None:
        raise AssertionError(reason)

    def write(self, data: bytes) -> None:
        self.messages += 1

    @property
    def is_congested(self) -> bool:
        return False

    def go_live(self) -> None:
        self.gateway.registry.add(self.group, self.id_bytes, self.write)
        self.gateway.live += 1


class Gateway:
    """All of a gateway between Redis and the sockets."""

    def __init__(self, url: str) -> None:
        self.metrics = Metrics()
        self.registry = Registry(self.metrics)
        self.api = Api(load_chat_schema(), Settings())
        self.live = 0
        self.late_s: list[float] = []
        self.bus = Bus(Settings(), url, self.api.route, self._deliver, _miss, self.metrics)
        history = self.bus.history
        dispatcher = Dispatcher(
            self.registry,
            self.api.subscriptions_of,
            240 * 1024,
            self.metrics,
            Wheel().now_ms,
            history.write_position,
        )
        self.catch_up = CatchUp(history, dispatcher, self.metrics)

    def _deliver(self, stream: str, events: Sequence[Event]) -> None:
        self.catch_up.deliver(stream, events)
        self.late_s += [time.time() - event.at_ms / 1000 for event in events if event.data["author"] == "live"]

    def join(self, number: int, after: Token) -> None:
        request = SubscribeRequest(QUERY, None, {"room": f"r{number % ROOMS}"}, {})
        plan = self.api.plan(request, SOMEBODY)
        group, _ = self.registry.find_or_create(
            plan.field,
            plan.filter,
            plan.projection,
            "appsync",
            lambda payloads, length: join_parts(payloads, APPSYNC, length),
        )
        group.is_registered = True
        group.joining += 1
        self.catch_up.join(Client(self, group, plan.filter, number, after))

    async def publish(self, count: int, author: str) -> None:
        generator = random.Random(count)
        for first in range(0, count, 500):
            rooms = [generator.randrange(ROOMS) for _ in range(first, min(first + 500, count))]
            await self.bus.publish([NewEvent("createMessage", _build_data(room, author)) for room in rooms])


async def measure(url: str) -> list[tuple[str, str]]:
    gateway = Gateway(url)
    await gateway.bus.start()
    positions = []
    for _ in range(EVENTS // 100):
        positions.append(gateway.bus.history.read_token(await gateway.bus.history.find_position()))
        await gateway.publish(100, "past")
    while gateway.metrics.events_in < EVENTS:
        await asyncio.sleep(0.01)
    going_on = asyncio.create_task(_go_on(gateway))
    generator = random.Random(CLIENTS)
    began = time.perf_counter()
    for number in range(CLIENTS):
        gateway.join(number, generator.choice(positions))
    while gateway.live < CLIENTS:
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - began
    going_on.cancel()
    await gateway.catch_up.stop()
    await gateway.bus.stop()
    late = sorted(gateway.late_s)
    return [
        (
            f"{CLIENTS:,} clients in {ROOMS} rooms, each from some place in the last {EVENTS:,} events: all live",
            f"{seconds:.2f} s",
        ),
        ("messages written to them from the past", f"{gateway.metrics.replayed:,}"),
        ("stream entries read for that", f"{gateway.metrics.entries_replayed:,}"),
        (
            f"meanwhile, {LIVE_EVENTS_PER_S} events a second to who is live: publish to delivery, p50 and max",
            f"{late[len(late) // 2] * 1000:.1f} ms, {late[-1] * 1000:.0f} ms" if late else "-",
        ),
    ]


async def _go_on(gateway: Gateway) -> None:
    while True:
        await gateway.publish(1, "live")
        await asyncio.sleep(1 / LIVE_EVENTS_PER_S)


def _build_data(room: int, author: str) -> bytes:
    message = {
        "id": "1",
        "roomId": f"r{room}",
        "author": author,
        "content": "x" * 100,
        "createdAt": "2026-01-01T00:00:00Z",
    }
    return orjson.dumps(message)


def _miss(reason: str) -> None:
    raise AssertionError(reason)


def main() -> None:
    run_beside_valkey(measure)


if __name__ == "__main__":
    main()
