"""The seam between past and live: at every wait anything may happen, and everybody gets what was promised, once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fanout.engine import rounds
from fanout.engine.history import Places
from tests.fanout.engine.past import START, Client, World, read_position, until

relaxed = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_SHORTEST_PAUSE_S", 0)
    monkeypatch.setattr("fanout.engine.catchup._RETRY_S", 0)


def check(client: Client, world: World, after: Places) -> None:
    """Exactly what came after the place, by stream in order; and each position told is one to resume from."""
    streams = len(world.entries)
    got: list[list[int]] = [[] for _ in range(streams)]
    for payload in client.got:
        stream, at = payload["data"]["stream"], payload["data"]["at"]
        got[stream].append(at)
        told = read_position(payload)
        assert told[stream] == (at, 0)
        for number in range(streams):
            # Everything up to the position was got, and nothing after it.
            before = [each for each in world.expect(client.room, after)[number] if (each, 0) <= told[number]]
            assert got[number] == before
            assert told[number] >= after[number]
    assert got == world.expect(client.room, after)


ROOMS = st.sampled_from("ab")
OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["publish", "publish", "route", "route for us", "read", "join"]), ROOMS, st.integers(0, 35)
    ),
    max_size=60,
)


@relaxed
@given(
    streams=st.integers(1, 3),
    before=st.lists(st.tuples(ROOMS, st.integers(0, 2)), max_size=20),
    routed=st.integers(0, 20),
    operations=OPERATIONS,
    firsts=st.lists(st.integers(0, 35), max_size=5),
    capacities=st.lists(st.integers(1, 4) | st.just(10**9), min_size=1, max_size=4),
)
def test_past_and_live_give_what_was_published_after_the_position(
    streams: int,
    before: list[tuple[str, int]],
    routed: int,
    operations: list[tuple[str, str, int]],
    firsts: list[int],
    capacities: list[int],
) -> None:
    asyncio.run(_play(streams, before, routed, operations, firsts, capacities))


async def _play(
    streams: int,
    before: list[tuple[str, int]],
    routed: int,
    operations: list[tuple[str, str, int]],
    firsts: list[int],
    capacities: list[int],
) -> None:
    remaining = iter(operations)
    world = World(streams, lambda: step())
    joined: list[tuple[Client, Places | None]] = []

    def join(room: str, number: int) -> None:
        # Somewhere in the past, at an entry of each stream or its beginning; or at the present.
        after = None
        if number % 6 != 5:
            places = [[START, *(place for place, _ in entries)] for entries in world.entries]
            after = tuple(each[len(each) * (number // 6**stream % 6) // 6] for stream, each in enumerate(places))
        # Two subscriptions on each connection.
        other = joined[-1][0] if len(joined) % 2 else None
        capacity = capacities[len(joined) % len(capacities)]
        joined.append((world.join(room, after, capacity, other), after))

    def step() -> None:
        operation, room, number = next(remaining, ("", "", 0))
        match operation:
            case "publish":
                world.publish(room, number % streams)
            case "route":
                world.route(number % streams)
            case "route for us":
                world.route(number % streams, is_for_us=True)
            case "read":
                for client, _ in joined:
                    client.read()
            case "join":
                join(room, number)

    for room, stream in before:
        world.publish(room, stream % streams)
    for number in range(routed):
        world.route(number % streams)
    for number in firsts:
        join("a", number)

    def go_on() -> None:
        step()
        for client, _ in joined:
            client.read()

    await until(lambda: next(remaining, None) is None and all(client.has_begun for client, _ in joined), go_on)

    def end() -> None:
        world.route_all()
        go_on()

    await until(lambda: all(client.is_live for client, _ in joined), end)
    for room in "ab":
        for stream in range(streams):
            world.publish(room, stream)
    world.route_all()
    for client, after in joined:
        assert (client.fault, client.missed) == (None, None)
        begun: Any = read_position({"extensions": {"fanout": {"position": client.has_begun}}})
        assert after is None or begun == after
        check(client, world, begun)
    await world.catch_up.stop()


async def test_who_resumes_far_behind_is_given_chunk_after_chunk() -> None:
    world = World()
    for _ in range(100):
        world.publish("a")
        world.publish("b")
    world.route_all()
    client = world.join("a", (START,))
    await until(lambda: client.is_live)
    check(client, world, (START,))
    assert world.reads == -(-200 // world.chunk_entries)


async def test_many_share_the_reading() -> None:
    world = World.with_past(60)
    clients = [(world.join("a", (place,)), place) for place, _ in world.entries[0] for _ in range(10)]
    await until(lambda: all(client.is_live for client, _ in clients))
    assert world.reads <= -(-60 // world.chunk_entries) + 1
    for client, place in clients:
        check(client, world, (place,))


async def test_nobody_becomes_live_while_more_is_taken_than_the_tap_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_MOST_TAPPED_EVENTS", 2)
    burst = [50]

    def step() -> None:
        if burst[0]:
            burst[0] -= 1
            for _ in range(3):
                world.publish("a")
                world.route()

    world = World(step=step)
    world.publish("a")
    world.route(is_for_us=True)
    client = world.join("a", (START,))
    await until(lambda: client.is_live)
    assert burst == [0]
    check(client, world, (START,))


async def test_what_is_trimmed_while_it_is_being_replayed_is_told() -> None:
    world = World.with_past(30)
    behind, ahead = world.join("a", (START,)), world.join("a", ((25, 0),))
    await until(lambda: behind.got)
    world.trim(0, keep=10)
    await until(lambda: behind.missed and ahead.is_live)
    assert behind.missed == "history-trimmed"
    assert not behind.is_live
    # Up to there nothing was left out.
    assert [payload["data"]["at"] for payload in behind.got] == list(range(1, len(behind.got) + 1))
    check(ahead, world, ((25, 0),))


async def test_a_client_that_reads_slowly_is_waited_for_and_holds_nobody_up() -> None:
    world = World.with_past(200)
    slow, quick = world.join("a", (START,), capacity=5), world.join("a", (START,))
    await until(lambda: quick.is_live)
    assert slow.is_congested
    assert len(slow.got) < 100
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(slow.got) < 100
    await until(lambda: slow.is_live, slow.read)
    check(slow, world, (START,))


async def test_redis_away_in_between_changes_nothing() -> None:
    world = World.with_past(30)
    world.is_away = True
    client = world.join("a", (START,))
    for turn in range(100):
        world.is_away = bool(turn % 5)
        await asyncio.sleep(0)
    world.is_away = False
    await until(lambda: client.is_live)
    check(client, world, (START,))


async def test_one_that_is_ended_on_the_way_is_left_alone() -> None:
    world = World.with_past(30)
    gone, stays = world.join("a", (START,)), world.join("a", (START,))
    await until(lambda: gone.got)
    world.catch_up.leave(gone)
    count = len(gone.got)
    await until(lambda: stays.is_live)
    assert len(gone.got) == count
    assert not gone.is_live


async def test_all_who_could_become_live_are_gone_when_the_tap_holds_something(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def step() -> None:
        # While the past of one is read, an event is taken, and the client of both goes away.
        if world.reads == 1 and len(world.entries[0]) == 2:
            world.publish("a")
            world.route_all()
            world.catch_up.leave(present)
            world.catch_up.leave(behind)

    world = World(step=step)
    for _ in range(2):
        world.publish("a")
        world.route(is_for_us=True)
    behind, present = world.join("a", (START,)), world.join("a")
    await until(lambda: len(world.entries[0]) == 3 and not world.catch_up._rounds)
    assert not caplog.records
    later = world.join("a", (START,))
    await until(lambda: later.is_live)
    check(later, world, (START,))


async def test_what_the_tap_holds_goes_to_those_who_could_take_it_and_later_to_the_others() -> None:
    def step() -> None:
        # While the last chunk is on its way, one more event is taken: it comes through the tap.
        if world.reads == 1 and len(world.entries[0]) == 1:
            world.publish("a")
            world.route_all()

    world = World(step=step)
    world.publish("a")
    world.route_all()
    first = world.join("a", (START,), capacity=2)
    # On the same connection: what the first is given fills its buffer before the second's turn.
    second = world.join("a", (START,), beside=first)
    await until(lambda: len(first.got) + len(second.got) >= 2)
    await until(lambda: first.is_live and second.is_live, first.read)
    for client in (first, second):
        check(client, world, (START,))
