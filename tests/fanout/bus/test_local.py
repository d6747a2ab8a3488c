"""This gateway's own side: where streams were when it joined, and what routers' notes make it do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.bus.entries import HELLO, RELEASED, REPLACED, START, TRIMMED, EntryId, Note, parse_id
from fanout.bus.keys import Keys
from fanout.bus.local import LocalGateway
from fanout.bus.positions import Position
from fanout.bus.refusals import Refusals
from fanout.metrics import Metrics
from fanout.model import Event
from tests.fanout.bus.harness import Gateway, until

KEYS = Keys("fanout:")


class Local:
    def __init__(self, url: str) -> None:
        self.told: list[str] = []
        self.links: list[Link] = []
        self.gateway = LocalGateway(
            Gateway(url, stream=("s", "empty")).settings,
            KEYS,
            lambda name: self._open(url, name),
            lambda stream, events: self.told.extend(f"{stream} {event.id}" for event in events),
            lambda reason: self.told.append(f"missed {reason}"),
            lambda stream: self.told.append(f"released {stream}"),
            Metrics(),
            Refusals(),
        )

    def _open(self, url: str, name: str) -> Link:
        self.links.append(Link(Endpoint(url), name, lambda: self.gateway.membership.suspect()))
        return self.links[-1]


@pytest.fixture
async def local(url: str) -> AsyncIterator[Local]:
    local = Local(url)
    yield local
    for link in local.links:
        await link.close()


async def test_it_begins_where_the_streams_are(local: Local, redis: Redis) -> None:
    for _ in range(3):
        last = await redis.xadd("s", {"a": "b"})
    await redis.xtrim("s", maxlen=1, approximate=False)
    await local.gateway.membership.enter()
    assert local.gateway.entered_at("s") == Position(parse_id(last), 3)
    assert local.gateway.entered_at("empty") == Position()
    assert local.gateway.intake.last("s") == parse_id(last)
    assert await redis.hgetall(KEYS.checkpoint("s")) == {"id": last, "read": "3"}
    assert await redis.hgetall(KEYS.checkpoint("empty")) == {"id": "0-0", "read": "0"}


async def test_a_checkpoint_that_is_there_is_kept(local: Local, redis: Redis) -> None:
    await redis.hset(KEYS.checkpoint("s"), mapping={"id": "1-1", "read": "7"})
    await local.gateway.membership.enter()
    assert await redis.hgetall(KEYS.checkpoint("s")) == {"id": "1-1", "read": "7"}


def take(local: Local, entry_id: str) -> None:
    local.gateway.intake.take("s", [Event(entry_id, "m", None, b"null", 0)])


async def test_notes(local: Local) -> None:
    take(local, "5-0")
    local.told.clear()
    # All that was lost had been taken, or not.
    local.gateway.note(Note(TRIMMED, "s", EntryId(5, 0)))
    local.gateway.note(Note(TRIMMED, "s", EntryId(5, 1)))
    assert local.told == []
    local.gateway.note(Note(TRIMMED, "s", EntryId(5, 2)))
    local.gateway.note(Note(REPLACED, "s", EntryId(2, 0)))
    local.gateway.note(Note(RELEASED, "s"))
    local.gateway.note(Note(HELLO))
    assert local.told == ["missed history-trimmed", "missed history-lost", "released s"]
    assert local.gateway.intake.last("s") == EntryId(2, 0)
    take(local, "3-0")
    assert local.told[-1] == "s 3-0"


async def test_another_inbox_is_read_after_joining_anew(local: Local, redis: Redis) -> None:
    await local.gateway.membership.enter()
    tasks = [
        asyncio.create_task(local.gateway.membership.run()),
        asyncio.create_task(local.gateway.read_inbox()),
    ]
    old_id = local.gateway.gateway_id
    await redis.delete(KEYS.inbox(old_id))
    await until(lambda: local.told == ["missed membership-lost"])
    fields = {"s": "s", "i": "9-0", "m": "m", "d": "1", "a": "1"}
    await redis.xadd(KEYS.inbox(local.gateway.gateway_id), fields)
    await until(lambda: len(local.told) > 1)
    assert local.told == ["missed membership-lost", "s 9-0"]
    # Nobody waits for the old inbox.
    await asyncio.wait_for(local.gateway.wait_inbox_read(old_id, EntryId(2**60, 0)), 5)
    await asyncio.wait_for(local.gateway.wait_inbox_read(local.gateway.gateway_id, START), 5)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
