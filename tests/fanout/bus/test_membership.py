"""Membership: joined, kept, checked after any loss, and joined anew when it was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.bus.keys import Keys
from fanout.bus.membership import Membership
from fanout.bus.refusals import Refusals
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from tests.fanout.bus.harness import USUAL, Gate, Gateway, room, until, until_redis

KEYS = Keys("fanout:")


class Member:
    """A membership that notes what it calls."""

    def __init__(self, url: str, **settings: int) -> None:
        self.calls: list[str] = []
        self.link = Link(Endpoint(url), "control", lambda: self.membership.suspect())
        self.membership = Membership(
            Gateway(url, **settings).settings,
            KEYS,
            self.link,
            self._entered,
            lambda reason: self.calls.append("lost"),
            Metrics(),
            Refusals(),
        )
        self.task: asyncio.Task[None] | None = None

    async def _entered(self, gateway_id: str) -> None:
        self.calls.append(f"entered {gateway_id}")

    async def start(self) -> None:
        await self.membership.enter()
        self.task = asyncio.create_task(self.membership.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        await self.link.close()


@pytest.fixture
async def member(url: str) -> AsyncIterator[Member]:
    member = Member(url)
    await member.start()
    yield member
    await member.stop()


async def test_a_member_is_known_and_leaves_nothing(member: Member, redis: Redis) -> None:
    gateway_id = member.membership.gateway_id
    assert member.calls == [f"entered {gateway_id}"]
    assert member.membership.is_verified
    assert await redis.smembers(KEYS.gateways) == {gateway_id}
    assert await redis.xlen(KEYS.inbox(gateway_id)) == 1
    assert 0 < await redis.pttl(KEYS.heartbeat(gateway_id)) <= USUAL["heartbeat_timeout_ms"]
    await member.membership.registration.register([room("a")])
    assert member.task is not None
    member.task.cancel()
    await asyncio.wait([member.task])
    await member.membership.leave()
    assert not member.membership.is_verified
    assert sorted(await redis.keys()) == sorted([KEYS.gateways_version, KEYS.paths_version])


async def test_the_heartbeat_goes_on(member: Member, redis: Redis) -> None:
    key = KEYS.heartbeat(member.membership.gateway_id)

    async def is_renewed() -> bool:
        return await redis.pttl(key) < 1_000_000

    for _ in range(3):
        await redis.pexpire(key, 60_000_000)
        await until_redis(is_renewed)
        assert await redis.pttl(key) <= USUAL["heartbeat_timeout_ms"]


async def test_a_lost_connection_is_verified_and_nothing_else(member: Member, redis: Redis) -> None:
    gateway_id = member.membership.gateway_id
    await member.membership.registration.register([room("a")])
    member.membership.suspect()
    assert not member.membership.is_verified
    await asyncio.wait_for(member.membership.wait_verified(), 5)
    await redis.client_kill_filter(_type="normal", skipme=True)
    await member.membership.registration.register([room("b")])
    await asyncio.wait_for(member.membership.wait_verified(), 5)
    assert member.membership.gateway_id == gateway_id
    assert member.calls == [f"entered {gateway_id}"]


async def test_who_was_cleaned_up_after_joins_anew_and_is_told(member: Member, redis: Redis) -> None:
    old_id = member.membership.gateway_id
    await member.membership.registration.register([room("a")])
    await redis.delete(KEYS.inbox(old_id))
    await until(lambda: member.calls[-1] == "lost")
    await asyncio.wait_for(member.membership.wait_verified(), 5)
    new_id = member.membership.gateway_id
    assert member.calls == [f"entered {old_id}", f"entered {new_id}", "lost"]
    assert await redis.smembers(KEYS.gateways) == {new_id}
    assert await redis.smembers(KEYS.bucket(room("a"))) == {new_id}
    assert await redis.smembers(KEYS.paths) == {f"{new_id}|onCreateMessage|roomId"}
    assert await redis.keys(f"*{old_id}*") == []


async def test_joining_anew_goes_on_after_failures(url: str, redis: Redis, gate: Gate) -> None:
    member = Member(gate.url)
    await member.start()
    await member.membership.registration.register([room("a")])
    for step in (b"XADD", b"SRANDMEMBER"):
        member.calls.clear()
        gate.hold_after(step)
        await redis.delete(KEYS.inbox(member.membership.gateway_id))
        await until(lambda: gate.is_holding)
        gate.cut()
        gate.release()
        await until(lambda: "lost" in member.calls)
        await asyncio.wait_for(member.membership.wait_verified(), 5)
        assert await redis.smembers(KEYS.bucket(room("a"))) == {member.membership.gateway_id}
        assert await redis.smembers(KEYS.gateways) == {member.membership.gateway_id}
    await member.stop()


async def test_dead_gateways_are_cleaned_up_after(member: Member, redis: Redis) -> None:
    await redis.sadd(KEYS.gateways, "dead")
    await redis.xadd(KEYS.inbox("dead"), {"note": "hello"})

    async def is_clean() -> bool:
        return not (await redis.exists(KEYS.inbox("dead")) or await redis.sismember(KEYS.gateways, "dead"))

    await until_redis(is_clean)
    assert await redis.smembers(KEYS.gateways) == {member.membership.gateway_id}


async def test_entering_fails_when_redis_is_not_there(short_directory: object) -> None:
    member = Member(f"unix://{short_directory}/none.sock")
    with pytest.raises(Unavailable):
        await member.membership.enter()
    assert not member.membership.is_verified
    assert member.calls == []


async def test_buckets_are_left_in_time(member: Member, redis: Redis) -> None:
    await member.membership.registration.register([room("a")])
    member.membership.registration.release([room("a")])

    async def has_left() -> bool:
        return not await redis.exists(KEYS.bucket(room("a")))

    await until_redis(has_left)
    assert await redis.scard(KEYS.buckets(member.membership.gateway_id)) == 0
