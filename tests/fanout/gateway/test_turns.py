"""Work is shared fairly: counted in turns of the event loop, never in time."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from fanout.gateway.turns import Turns
from tests.fanout.gateway.conftest import Harness
from tests.served import wait_until_async

ON_CREATE = "subscription { onCreateMessage { id } }"


class Clock:
    """Seconds go by only when work is done."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    def __init__(self, name: str, clock: Clock, log: list[tuple[str, int]]) -> None:
        self.name = name
        self.is_read = True
        self._clock = clock
        self._log = log

    def handle(self, work: int) -> None:
        self._clock.now += 0.01
        self._log.append((self.name, work))

    def pause_reading(self) -> None:
        assert self.is_read
        self.is_read = False

    def resume_reading(self) -> None:
        assert not self.is_read
        self.is_read = True


async def test_what_is_over_the_budget_waits_and_others_come_in_between() -> None:
    clock, log = Clock(), []  # type: ignore[var-annotated]
    turns: Turns[int] = Turns(20, clock)
    busy, other = Client("busy", clock, log), Client("other", clock, log)
    for work in range(6):
        turns.do(busy, work)
    assert log == [("busy", 0), ("busy", 1)]
    assert not busy.is_read
    turns.do(other, 0)
    await asyncio.sleep(0)
    assert log[2:] == [("busy", 2), ("other", 0)]
    assert other.is_read
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log[4:] == [("busy", 3), ("busy", 4), ("busy", 5)]
    assert busy.is_read
    assert len(turns) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60), st.integers(1, 60))
async def test_everything_is_done_once_in_each_client_s_order(brought: list[tuple[int, bool]], budget: int) -> None:
    clock, log = Clock(), []  # type: ignore[var-annotated]
    turns: Turns[int] = Turns(budget, clock)
    clients = [Client(str(number), clock, log) for number in range(4)]
    expected: dict[str, list[int]] = {client.name: [] for client in clients}
    for work, (number, ends_turn) in enumerate(brought):
        turns.do(clients[number], work)
        expected[clients[number].name].append(work)
        if ends_turn:
            await asyncio.sleep(0)
    while len(turns):
        done = len(log)
        await asyncio.sleep(0)
        assert len(log) > done, "every turn does something"
    await asyncio.sleep(0)
    for client in clients:
        assert [work for name, work in log if name == client.name] == expected[client.name]
        assert client.is_read


async def test_one_that_ends_is_not_worked_for() -> None:
    clock, log = Clock(), []  # type: ignore[var-annotated]
    turns: Turns[int] = Turns(10, clock)
    client = Client("a", clock, log)
    for work in range(3):
        turns.do(client, work)
    turns.drop(client)
    turns.drop(client)
    assert client.is_read
    await asyncio.sleep(0)
    assert log == [("a", 0)]


async def test_one_that_ends_by_its_own_work() -> None:
    clock, log = Clock(), []  # type: ignore[var-annotated]
    turns: Turns[int] = Turns(10, clock)

    class Ending(Client):
        def handle(self, work: int) -> None:
            super().handle(work)
            if work == 1:
                turns.drop(self)

    client = Ending("a", clock, log)
    for work in range(4):
        turns.do(client, work)
    await asyncio.sleep(0)
    assert log == [("a", 0), ("a", 1)]
    assert len(turns) == 0


async def test_the_rest_of_a_piece_of_work_comes_before_what_came_later() -> None:
    clock, log = Clock(), []  # type: ignore[var-annotated]
    turns: Turns[int] = Turns(10, clock)

    class Splitting(Client):
        def handle(self, work: int) -> None:
            super().handle(work)
            if work == 10:
                turns.put_back(self, 11)

    client = Splitting("a", clock, log)
    for work in (10, 20):
        turns.do(client, work)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == [("a", 10), ("a", 11), ("a", 20)]


def make_every_plan_long(harness: Harness) -> list[str]:
    """Let each start use up a turn's budget, on the clock of the turns; returns the order of starts."""
    clock = Clock()
    harness.gateway.turns = Turns(20, clock)
    started: list[str] = []
    start = harness.subscriptions.start

    def start_slowly(subscriber: Any, wish: Any) -> None:
        clock.now += 0.1
        started.append(wish.id)
        start(subscriber, wish)

    harness.subscriptions.start = start_slowly  # type: ignore[method-assign]
    return started


async def test_a_client_that_sends_a_lot_does_not_hold_others_up(harness: Harness) -> None:
    started = make_every_plan_long(harness)
    async with harness.connect() as busy, harness.connect() as other:
        for number in range(30):
            await busy.send_start(f"busy {number}", ON_CREATE)
        await wait_until_async(lambda: started)
        await other.subscribe("other", ON_CREATE)
        for number in range(30):
            assert await busy.receive() == {"type": "start_ack", "id": f"busy {number}"}
    order = [id for id in started if id != "other"]
    assert order == [f"busy {number}" for number in range(30)]


async def test_messages_that_come_in_one_read_are_interleaved_with_others(harness: Harness) -> None:
    started = make_every_plan_long(harness)
    async with harness.connect() as busy, harness.connect() as other:
        first, second = harness.gateway._connections
        first.data_received(write_starts(*(f"busy {number}" for number in range(20))))  # type: ignore[attr-defined]
        second.data_received(write_starts("other"))  # type: ignore[attr-defined]
        assert started == ["busy 0"]
        assert await other.receive() == {"type": "start_ack", "id": "other"}
        assert started.index("other") == 2
        for number in range(20):
            assert await busy.receive() == {"type": "start_ack", "id": f"busy {number}"}


def write_starts(*ids: str) -> bytes:
    data = orjson.dumps({"query": ON_CREATE}).decode()
    messages = (orjson.dumps({"id": id, "type": "start", "payload": {"data": data}}) for id in ids)
    return b"".join(Frame(Opcode.TEXT, message).serialize(mask=True) for message in messages)


async def test_held_starts_are_not_all_started_in_one_turn(harness: Harness) -> None:
    started = make_every_plan_long(harness)
    url = harness.url.replace("http", "ws") + "/graphql"
    async with connect(url, subprotocols=["graphql-ws"], additional_headers={"x-api-key": "k"}) as ws:  # type: ignore[list-item]
        for number in range(5):
            await ws.send('{"type":"start","id":"%d","payload":{"query":"%s"}}' % (number, ON_CREATE))
        await ws.send('{"type":"connection_init","payload":{"x-api-key":"da2-test-api-key"}}')
        await ws.send('{"type":"stop","id":"4"}')
        while '"complete"' not in str(await ws.recv()):
            pass
    assert started == ["0", "1", "2", "3", "4"]
