"""Catching up as a whole: who is admitted, who waits, and that one round does not hold up another."""

from __future__ import annotations

import asyncio

import pytest

from fanout.engine import rounds
from fanout.engine.catchup import _MOST_ROUNDS
from fanout.errors import PositionExpired
from tests.fanout.engine.past import START, World, read_position, until


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr("fanout.engine.catchup._RETRY_S", 0)


async def test_who_begins_at_the_present_reads_nothing() -> None:
    world = World.with_past(10)
    client = world.join("a")
    await until(lambda: client.is_live)
    assert client.has_begun == world.write_token(((10, 0),))
    assert world.reads == 0
    world.publish("a")
    world.route_all()
    assert [read_position(payload) for payload in client.got] == [((11, 0),)]


async def test_who_cannot_begin_is_refused_and_told_nothing_else() -> None:
    world = World.with_past(10)
    world.trim(0, keep=3)
    expired, good = world.join("a", ((6, 0),)), world.join("a", ((7, 0),))
    world.epoch = b"another-"
    replaced = world.join("a", ((7, 0),))
    world.epoch = b"epoch---"
    await until(lambda: good.is_live)
    assert isinstance(expired.fault, PositionExpired)
    assert isinstance(replaced.fault, PositionExpired)
    assert (expired.has_begun, expired.got) == (None, [])
    assert world.metrics.resumes == 1


async def test_a_short_way_does_not_wait_for_a_long_one() -> None:
    world = World.with_past(400)
    world.chunk_entries = 1
    far = world.join("a", (START,))
    await until(lambda: len(far.got) > 20)
    near, present = world.join("a", ((398, 0),)), world.join("a")
    await until(lambda: near.is_live and present.is_live)
    assert not far.is_live
    assert [payload["data"]["at"] for payload in near.got] == [399, 400]
    await until(lambda: far.is_live)
    assert len(far.got) == 400


async def test_rounds_are_few_however_many_come() -> None:
    world = World.with_past(200)
    world.chunk_entries = 1
    clients = []
    for _ in range(100):
        clients.append(world.join("a", (START,)))
        for _ in range(4):
            await asyncio.sleep(0)
        assert len(world.catch_up._rounds) <= _MOST_ROUNDS
    await until(lambda: all(client.is_live for client in clients))
    assert all(len(client.got) == 200 for client in clients)
    assert world.reads < 200 * 2 * _MOST_ROUNDS
    await until(lambda: not world.catch_up._rounds)


async def test_who_is_left_while_waiting_is_not_admitted() -> None:
    world = World.with_past(1)
    gone, stays = world.join("a", (START,)), world.join("a", (START,))
    world.catch_up.leave(gone)
    await until(lambda: stays.is_live)
    assert gone.has_begun is None


@pytest.mark.parametrize("step", ["read", "look"], ids=["on-the-way", "at-the-beginning"])
async def test_a_defect_tells_those_whom_it_concerns_and_leaves_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world = World.with_past(1)

    async def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(world, step, fail)
    client = world.join("a", (START,))
    await until(lambda: client.missed)
    assert client.missed == "internal-error"
    monkeypatch.undo()
    later = world.join("a", (START,))
    await until(lambda: later.is_live)


async def test_stopping_ends_everything() -> None:
    world = World()
    world.is_away = True
    world.join("a", (START,))
    await asyncio.sleep(0)
    await world.catch_up.stop()
    assert len(asyncio.all_tasks()) == 1
