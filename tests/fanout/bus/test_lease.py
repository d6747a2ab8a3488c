"""The lease: one holder, and a checkpoint that only it can move."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Link
from fanout.bus.entries import EntryId
from fanout.bus.keys import Keys
from fanout.bus.lease import Lease, LeaseLost, create_checkpoint
from fanout.bus.positions import Position
from fanout.bus.succession import look
from tests.fanout.bus.harness import until_redis

KEYS = Keys("p:")


async def test_one_holder_at_a_time(link: Link) -> None:
    one, other = Lease(KEYS, "s", 10_000), Lease(KEYS, "s", 10_000)
    assert await one.acquire(link) == 0
    assert 0 < await other.acquire(link) <= 10_000
    assert await one.acquire(link) == 0, "who lost only its connection goes on"
    assert await Lease(KEYS, "another", 10_000).acquire(link) == 0
    assert not await other.release(link)
    assert await one.release(link)
    assert await other.acquire(link) == 0


async def test_it_expires_unless_it_is_renewed(link: Link, redis: Redis) -> None:
    one, other = Lease(KEYS, "s", 10_000), Lease(KEYS, "s", 10_000)
    await one.acquire(link)
    await redis.pexpire(KEYS.lease("s"), 50)
    await one.renew(link)
    assert await redis.pttl(KEYS.lease("s")) > 50
    await redis.pexpire(KEYS.lease("s"), 50)
    await one.advance(link, Position(EntryId(1, 0), 1))
    assert await redis.pttl(KEYS.lease("s")) > 50
    await redis.pexpire(KEYS.lease("s"), 1)

    async def is_taken() -> bool:
        return await other.acquire(link) == 0

    await until_redis(is_taken)
    with pytest.raises(LeaseLost):
        await one.renew(link)


async def test_the_checkpoint_moves_under_the_lease_only(link: Link, redis: Redis) -> None:
    one, other = Lease(KEYS, "s", 10_000), Lease(KEYS, "s", 10_000)
    assert (await look(link, KEYS, "s")).position is None
    await one.acquire(link)
    await one.advance(link, Position(EntryId(5, 1), 7))
    await redis.delete(KEYS.lease("s"))
    with pytest.raises(LeaseLost):
        await one.advance(link, Position(EntryId(6, 0), 8))
    await other.acquire(link)
    with pytest.raises(LeaseLost):
        await one.advance(link, Position(EntryId(6, 0), 8))
    assert (await look(link, KEYS, "s")).position == Position(EntryId(5, 1), 7)
    assert not await one.release(link)


async def test_the_first_gateway_creates_the_checkpoint(link: Link) -> None:
    await create_checkpoint(link, KEYS, "s", Position(EntryId(3, 0), 3))
    await create_checkpoint(link, KEYS, "s", Position(EntryId(9, 0), 9))
    assert (await look(link, KEYS, "s")).position == Position(EntryId(3, 0), 3)


async def test_it_does_not_outlive_its_holder_when_the_clock_of_redis_is_set_back(link: Link, redis: Redis) -> None:
    one, other = Lease(KEYS, "s", 10_000), Lease(KEYS, "s", 60_000)
    await one.acquire(link)
    await redis.pexpire(KEYS.lease("s"), 86_400_000)
    assert await other.acquire(link) == 10_000, "the holder's own duration counts"
    assert await redis.pttl(KEYS.lease("s")) <= 10_000
    await redis.set(KEYS.lease("s"), "a holder of an older version", px=86_400_000)
    assert await other.acquire(link) > 60_000


async def test_the_wish_of_whoever_holds_fewest_counts(link: Link, redis: Redis) -> None:
    holder, one, other = (Lease(KEYS, "s", 10_000) for _ in range(3))
    assert await holder.is_free(link)
    await holder.acquire(link)
    assert not await holder.is_free(link)
    assert await holder.read_wish(link) is None
    await one.wish(link, 2, 10_000)
    assert await holder.read_wish(link) == 2
    await other.wish(link, 3, 10_000)
    assert await holder.read_wish(link) == 2
    await other.wish(link, 1, 10_000)
    assert await holder.read_wish(link) == 1
    await other.wish(link, 4, 10_000)
    assert await holder.read_wish(link) == 4, "it has changed its mind"
    assert 0 < await redis.pttl(KEYS.wish("s")) <= 10_000
    assert await holder.give_up(link)
    assert await holder.read_wish(link) is None
    assert await one.is_free(link)
    assert not await holder.give_up(link)
