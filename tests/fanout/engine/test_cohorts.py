"""Cohorts write the same bytes as live dispatch, each once per group, to whoever is there at that moment."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fanout.engine.cohorts import Cohorts
from fanout.engine.history import Places
from fanout.model import Event
from tests.fanout.engine.past import PROJECTION, START, Client, World, read_position


def build(world: World, stream: int = 0) -> Cohorts:
    return Cohorts(stream, START, world.dispatcher, world.write_token, world.metrics)


def join(world: World, room: str, places: Places = (START,), **options: Any) -> Client:
    client = Client(world, room, None, **options) if options else world.join(room)
    world.catch_up.leave(client)
    client.is_over = False
    client.places = places
    client.has_begun = b""
    return client


def offer(world: World, cohorts: Cohorts, room: str) -> Event:
    event = world.publish(room, cohorts.stream)
    cohorts.offer(world.entries[cohorts.stream][-1][0], event)
    return event


async def test_each_gets_what_was_offered_since_it_was_added() -> None:
    world = World()
    cohorts = build(world)
    early, late, other = join(world, "a"), join(world, "a"), join(world, "b")
    cohorts.add(early)
    cohorts.add(other)
    offer(world, cohorts, "a")
    offer(world, cohorts, "b")
    cohorts.add(late)
    offer(world, cohorts, "a")
    assert cohorts.flush() == []
    assert cohorts.pending_bytes == 0
    assert [payload["data"]["at"] for payload in early.got] == [1, 3]
    assert [payload["data"]["at"] for payload in late.got] == [3]
    assert [payload["data"]["at"] for payload in other.got] == [2]
    assert (world.metrics.replayed, world.metrics.deliveries) == (4, 4)


async def test_the_bytes_are_those_of_live_events() -> None:
    world = World()
    live = world.join("a")
    world.catch_up.leave(live)
    live.has_begun = b""
    live.go_live()
    replayed = join(world, "a")
    cohorts = build(world)
    cohorts.add(replayed)
    offer(world, cohorts, "a")
    cohorts.flush()
    world.route(is_for_us=True)
    assert live.got == replayed.got != []


async def test_payloads_are_made_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def project(self: object, data: object) -> bytes:
        nonlocal calls
        calls += 1
        return orjson.dumps({"data": data})

    monkeypatch.setattr(type(PROJECTION), "project", project)
    world = World()
    cohorts = build(world)
    clients = [join(world, "a") for _ in range(50)]
    for client in clients:
        cohorts.add(client)
    for _ in range(3):
        offer(world, cohorts, "a")
    cohorts.flush()
    assert calls == 3
    assert all(len(client.got) == 3 for client in clients)


async def test_places_in_other_streams_are_those_of_each() -> None:
    world = World(streams=2)
    cohorts = build(world)
    one, two = join(world, "a", (START, (5, 0))), join(world, "a", (START, (7, 0)))
    cohorts.add(one)
    cohorts.add(two)
    offer(world, cohorts, "a")
    cohorts.flush()
    assert [read_position(client.got[0]) for client in (one, two)] == [((1, 0), (5, 0)), ((1, 0), (7, 0))]
    cohorts.advance((3, 0))
    cohorts.settle()
    assert [client.places for client in (one, two)] == [((3, 0), (5, 0)), ((3, 0), (7, 0))]


async def test_those_who_have_to_read_first_are_left_out_with_their_place() -> None:
    world = World()
    cohorts = build(world)
    slow = world.join("a", capacity=2)
    beside = world.join("a", beside=slow)
    quick = join(world, "a")
    for client in (slow, beside):
        world.catch_up.leave(client)
        client.is_over, client.places, client.has_begun = False, (START,), b""
    cohorts.advance((0, 5))
    for client in (slow, beside, quick):
        cohorts.add(client)
    for _ in range(2):
        offer(world, cohorts, "a")
    left = cohorts.flush()
    # What the first was given filled the buffer of both.
    assert left == [(slow, (2, 0), True), (beside, (0, 5), False)]
    assert [len(client.got) for client in (slow, beside, quick)] == [2, 0, 2]
    assert list(cohorts) == [quick]
    offer(world, cohorts, "a")
    assert cohorts.flush() == []
    assert [len(client.got) for client in (slow, beside, quick)] == [2, 0, 3]


async def test_those_who_are_gone_are_forgotten() -> None:
    world = World()
    cohorts = build(world)
    gone, stays = join(world, "a"), join(world, "a")
    for client in (gone, stays):
        cohorts.add(client)
    gone.is_over = True
    offer(world, cohorts, "a")
    assert [left.joining for left in cohorts.flush()] == [gone]
    assert list(cohorts) == [stays]
    assert not cohorts.is_deserted
    stays.is_over = True
    assert cohorts.is_deserted


async def test_a_defect_with_one_event_does_not_stop_the_others() -> None:
    world = World()
    cohorts = build(world)
    client = join(world, "a")
    cohorts.add(client)
    offer(world, cohorts, "a")
    cohorts.offer((2, 0), Event("2-0", "unknown mutation", {}, b"", 0))
    cohorts.offer((3, 0), world.publish("a"))
    cohorts.flush()
    assert len(client.got) == 2
    assert world.metrics.drops["internal-error"] == 1


async def test_many_writes_are_done_in_steps() -> None:
    world = World()
    cohorts = build(world)
    clients = [join(world, "a") for _ in range(1000)]
    for client in clients:
        cohorts.add(client)
    offer(world, cohorts, "a")
    steps = cohorts.flush_in_steps()
    next(steps)
    assert sum(bool(client.got) for client in clients) == 400
    # One that ends in between gets nothing more.
    clients[-1].is_over = True
    assert len(list(steps)) == 1
    assert [len(client.got) for client in clients] == [1] * 999 + [0]
    assert [left.joining for left in cohorts.take_left()] == [clients[-1]]
