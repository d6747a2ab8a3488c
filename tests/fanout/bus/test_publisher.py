"""Publishing: all or none, ids in order, and shared trips."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Command, Endpoint, Link
from fanout.bus.publisher import Publisher
from fanout.bus.refusals import Refusals
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import NewEvent
from tests.fanout.bus.harness import until


class CountingLink(Link):
    trips = 0
    may_go: asyncio.Event | None = None

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[object]:
        self.trips += 1
        if self.may_go is not None:
            await self.may_go.wait()
        return await super().call(*commands, wait_ms=wait_ms, refusable=refusable)


class Publishing:
    def __init__(self, url: str) -> None:
        self.link = CountingLink(Endpoint(url), "publisher")
        self.metrics = Metrics()
        self.refusals = Refusals()
        self.publisher = Publisher("s", 100, 1000, self.link, self.metrics, self.refusals)
        self.task = asyncio.create_task(self.publisher.run())


@pytest.fixture
async def publishing(url: str) -> AsyncIterator[Publishing]:
    publishing = Publishing(url)
    yield publishing
    publishing.task.cancel()
    await asyncio.wait([publishing.task])
    await publishing.link.close()


async def test_entries_have_the_public_format(publishing: Publishing, redis: Redis) -> None:
    ids = await publishing.publisher.publish([NewEvent("m", b"1"), NewEvent("n", b"2", "key", 5)])
    assert await redis.xrange("s") == [
        (ids[0], {"mutation": "m", "data": "1"}),
        (ids[1], {"mutation": "n", "data": "2", "id": "key", "at": "5"}),
    ]
    assert await publishing.publisher.publish([]) == []
    assert publishing.metrics.events_published == 2


async def test_calls_that_come_together_share_a_trip(publishing: Publishing, redis: Redis) -> None:
    calls = [publishing.publisher.publish([NewEvent("m", str(number).encode())]) for number in range(300)]
    calls.append(publishing.publisher.publish([NewEvent("m", b"x"), NewEvent("m", b"y")]))
    answers = await asyncio.gather(*calls)
    assert publishing.link.trips == 1
    entries = await redis.xrange("s")
    assert [entry_id for answer in answers for entry_id in answer][-len(entries) :] == [entry[0] for entry in entries]
    assert [entry[1]["data"] for entry in entries][-3:] == ["299", "x", "y"]


async def test_the_stream_is_capped(publishing: Publishing, redis: Redis) -> None:
    await publishing.publisher.publish([NewEvent("m", b"1")] * 1000)
    assert await redis.xlen("s") < 300


async def test_all_or_none(publishing: Publishing, redis: Redis) -> None:
    await redis.config_set("maxmemory", "1")
    try:
        for events in ([NewEvent("m", b"1")], [NewEvent("m", b"1")] * 3):
            with pytest.raises(Unavailable, match="refused a command"):
                await publishing.publisher.publish(events)
    finally:
        await redis.config_set("maxmemory", "0")
    assert await redis.xlen("s") == 0
    await redis.set("s", "not a stream")
    for events in ([NewEvent("m", b"1")], [NewEvent("m", b"1")] * 3):
        with pytest.raises(Unavailable, match="refused"):
            await publishing.publisher.publish(events)
    await redis.delete("s")
    assert "publisher to s" in publishing.refusals.reason
    # A call that is refused does not hurt the one beside it.
    assert len(await publishing.publisher.publish([NewEvent("m", b"1")])) == 1
    assert publishing.metrics.events_published == 1
    assert publishing.refusals.reason == ""


async def test_what_waits_is_bounded_in_bytes(publishing: Publishing, redis: Redis) -> None:
    """Events of 100 bytes, and a buffer of 1,000; one call may be larger than that if nothing waits."""
    publishing.link.may_go = asyncio.Event()
    small, large = NewEvent("m", b"1" * 100), NewEvent("m", b"1" * 2000)
    waiting = [asyncio.create_task(publishing.publisher.publish([small])) for _ in range(10)]
    await until(lambda: publishing.link.trips)
    with pytest.raises(Unavailable, match="too many events wait"):
        await publishing.publisher.publish([small])
    given_up = waiting.pop()
    given_up.cancel()
    await asyncio.wait([given_up])
    waiting.append(asyncio.create_task(publishing.publisher.publish([small])))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="too many events wait"):
        await publishing.publisher.publish([small])
    publishing.link.may_go.set()
    await asyncio.gather(*waiting)
    assert len(await publishing.publisher.publish([large])) == 1


async def test_a_defect_leaves_nobody_waiting(publishing: Publishing) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError

    publishing.link.call = fail  # type: ignore[method-assign, assignment]
    with pytest.raises(Unavailable, match="internal error"):
        await publishing.publisher.publish([NewEvent("m", b"1")])
    with pytest.raises(ZeroDivisionError):
        await publishing.task


async def test_a_call_that_was_given_up_before_it_was_sent_publishes_nothing(
    publishing: Publishing, redis: Redis
) -> None:
    given_up = [asyncio.create_task(publishing.publisher.publish([NewEvent("m", b"0")])) for _ in range(3)]
    kept = asyncio.create_task(publishing.publisher.publish([NewEvent("m", b"1")]))
    await asyncio.sleep(0)  # the calls have begun, and the publisher's task has not
    for task in given_up:
        task.cancel()
    await kept
    assert [fields["data"] for _, fields in await redis.xrange("s")] == ["1"]


@pytest.mark.single_server
async def test_an_idle_connection_that_broke_is_no_error(publishing: Publishing, redis: Redis) -> None:
    await publishing.publisher.publish([NewEvent("m", b"1")])
    await redis.client_kill_filter(_type="normal", skipme=True)
    await until(lambda: publishing.link.is_at_end)
    await publishing.publisher.publish([NewEvent("m", b"2")])
    assert await redis.xlen("s") == 2


async def test_whoever_waits_when_it_is_closed_is_told(url: str) -> None:
    publishing = Publishing(url)
    waiting = asyncio.create_task(publishing.publisher.publish([NewEvent("m", b"1")]))
    await asyncio.sleep(0)
    publishing.publisher.close()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    with pytest.raises(Unavailable, match="stopping"):
        await publishing.publisher.publish([NewEvent("m", b"1")])
    publishing.task.cancel()
    await asyncio.wait([publishing.task])
    await publishing.link.close()


async def test_whoever_is_under_way_when_the_task_ends_is_told(url: str) -> None:
    publishing = Publishing(url)
    publishing.link.may_go = asyncio.Event()
    waiting = asyncio.create_task(publishing.publisher.publish([NewEvent("m", b"1")]))
    await until(lambda: publishing.link.trips)
    publishing.task.cancel()
    with pytest.raises(Unavailable, match="stopping"):
        await waiting
    await publishing.link.close()
