"""The inbox: everything in order, notes among events, and trimmed entries noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.bus.entries import EntryId, Note, inbox_fields, note_fields, parse_id
from fanout.bus.inbox import Inbox
from fanout.bus.intake import Intake
from fanout.bus.keys import Keys
from fanout.bus.membership import Membership
from fanout.bus.refusals import Refusals
from fanout.metrics import Metrics
from fanout.model import Event
from tests.fanout.bus.harness import Gate, Gateway, until, until_redis

KEYS = Keys("fanout:")


class Reader:
    """An inbox with a membership around it, and what it was told in order."""

    def __init__(self, url: str, **settings: int) -> None:
        self.told: list[object] = []
        self.on_deliver: Callable[[], None] = lambda: None
        checked = Gateway(url, **settings).settings
        self.refusals = Refusals()
        self.control = Link(Endpoint(url), "control")
        self.link = Link(Endpoint(url), "inbox", lambda: self.membership.suspect())
        self.membership = Membership(
            checked, KEYS, self.control, self._entered, lambda reason: None, Metrics(), self.refusals
        )
        self.inbox = Inbox(
            self.membership.gateway_id,
            checked,
            KEYS,
            self.link,
            self.membership,
            Intake(self._deliver, Metrics()),
            self.told.append,
            self.told.append,
            self.refusals,
        )
        self.key = KEYS.inbox(self.membership.gateway_id)

    async def _entered(self, gateway_id: str) -> None:
        pass

    def _deliver(self, stream: str, events: list[Event]) -> None:
        self.on_deliver()
        self.told += [(stream, event.id) for event in events]

    @property
    def numbers(self) -> list[int]:
        return [parse_id(item[1]).number for item in self.told if isinstance(item, tuple)]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Reader]:
        await self.membership.enter()
        tasks = [asyncio.create_task(self.membership.run()), asyncio.create_task(self.inbox.run())]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.control.close()
            await self.link.close()


async def put(redis: Redis, reader: Reader, *numbers: int, stream: str = "s", maxlen: int | None = None) -> str:
    last = ""
    for number in numbers:
        event = Event(f"1-{number}", "m", number, orjson.dumps(number), 1)
        fields = inbox_fields(stream, event)
        last = await redis.xadd(
            reader.key, dict(zip(fields[::2], fields[1::2], strict=True)), maxlen=maxlen, approximate=False
        )
    return last


async def put_note(redis: Redis, reader: Reader, note: Note) -> None:
    fields = note_fields(note)
    await redis.xadd(reader.key, dict(zip(fields[::2], fields[1::2], strict=True)))


async def test_events_and_notes_come_in_order(url: str, redis: Redis) -> None:
    async with Reader(url).running() as reader:
        note = Note("trimmed", "s", EntryId(1, 5))
        async with redis.pipeline(transaction=True) as together:
            await put(together, reader, 1, 2)
            await put_note(together, reader, note)
            await put(together, reader, 3)
            await put(together, reader, 1, stream="t")
            await put(together, reader, 2, 4)
            await together.execute()
        await until(lambda: len(reader.told) == 7)
        assert reader.told[1:] == [("s", "1-1"), ("s", "1-2"), note, ("s", "1-3"), ("t", "1-1"), ("s", "1-4")]
        assert reader.told[0] == Note("hello")


async def test_an_inbox_that_went_back_is_read_anew(url: str, redis: Redis, link: Link) -> None:
    """A replica that took over lacks what was read last, and its clock is behind: it gives ids from below."""
    async with Reader(url).running() as reader:
        await put(redis, reader, 1, 2)
        await until(lambda: reader.numbers == [1, 2])
        await reader.inbox.look_back(link)
        assert await redis.xlen(reader.key) == 3
        await redis.xtrim(reader.key, maxlen=0, approximate=False)
        await reader.inbox.look_back(link)
        await put(redis, reader, 3)
        await until(lambda: reader.numbers == [1, 2, 3])
        events = [Event(f"1-{number}", "m", number, b"1", 1) for number in (2, 3, 4)]
        appends = [("XADD", reader.key, f"5-{event.data}", *inbox_fields("s", event)) for event in events]
        await link.call(("MULTI",), ("DEL", reader.key), *appends, ("EXEC",))
        await reader.inbox.look_back(link)
        await until(lambda: reader.numbers == [1, 2, 3, 4])
        assert reader.told.count(Note("hello")) == 1


async def test_an_entry_of_somebody_else_is_skipped(url: str, redis: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async with Reader(url).running() as reader:
        await redis.xadd(reader.key, {"what": "ever"})
        await put(redis, reader, 1)
        await until(lambda: reader.numbers == [1])
        assert "not written by a gateway" in caplog.text


@pytest.mark.parametrize("max_length", [5, 50, 500])
async def test_trimmed_entries_are_told_before_what_comes_after_them(
    url: str, redis: Redis, gate: Gate, max_length: int
) -> None:
    settings = {"inbox_max_length": max_length, "read_batch_size": 40}
    async with Reader(gate.url, **settings).running() as reader:
        await put(redis, reader, 1)
        await until(lambda: reader.numbers == [1])

        async def is_reading() -> bool:
            return any(client["name"] == "inbox" and "b" in client["flags"] for client in await redis.client_list())

        await until_redis(is_reading)
        gate.hold()
        # The first is the answer to the read that is under way.
        await put(redis, reader, *range(2, max_length + 20), maxlen=max_length)
        gate.release()
        await until(lambda: reader.numbers[-1] == max_length + 19)
        assert reader.numbers == [1, 2, *range(20, max_length + 20)]
        assert reader.told.count("inbox-trimmed") == 1
        assert reader.told.index("inbox-trimmed") == reader.told.index(("s", "1-2")) + 1
        # It counts right from here on.
        for number in range(max_length + 20, max_length + 100):
            await put(redis, reader, number, maxlen=max_length)
            await until(lambda number=number: reader.numbers[-1] == number)
        assert reader.told.count("inbox-trimmed") == 1


async def test_a_full_inbox_that_was_not_trimmed_is_no_loss(url: str, redis: Redis, gate: Gate) -> None:
    async with Reader(gate.url, inbox_max_length=100, read_batch_size=10).running() as reader:
        gate.hold()
        await put(redis, reader, *range(1, 90), maxlen=100)
        gate.release()
        await until(lambda: reader.numbers == list(range(1, 90)))
        assert "inbox-trimmed" not in reader.told

        # What was read is given back.
        async def is_trimmed() -> bool:
            return await redis.xlen(reader.key) <= 30

        await until_redis(is_trimmed)


async def test_it_waits_for_the_membership_to_be_verified(url: str, redis: Redis) -> None:
    reader = Reader(url)
    async with reader.running():
        await until(lambda: len(reader.told) == 1)
        await redis.client_kill_filter(_type="normal", skipme=True)
        await put(redis, reader, 1)
        await until(lambda: reader.numbers)
        assert reader.numbers == [1]


async def test_waiting_until_it_was_read(url: str, redis: Redis) -> None:
    async with Reader(url).running() as reader:
        states: list[bool] = []
        last = await put(redis, reader, 1)
        reader.on_deliver = lambda: states.append(waiting.done())
        waiting = asyncio.create_task(reader.inbox.wait_read(parse_id(last)))
        await asyncio.wait_for(waiting, 5)
        assert reader.numbers == [1]
        assert True not in states
        await asyncio.wait_for(reader.inbox.wait_read(parse_id(last)), 5)


async def test_a_failing_delivery_ends_the_task_and_is_not_tried_again(url: str, redis: Redis) -> None:
    reader = Reader(url)
    await reader.membership.enter()

    def fail() -> None:
        raise ZeroDivisionError

    reader.on_deliver = fail
    await put(redis, reader, 1)
    with pytest.raises(ZeroDivisionError):
        await reader.inbox.run()
    reader.on_deliver = lambda: None
    await put(redis, reader, 2)
    task = asyncio.create_task(reader.inbox.run())
    await until(lambda: reader.numbers == [2])
    task.cancel()
    await asyncio.wait([task])
    await reader.control.close()
    await reader.link.close()
