"""Cleaning up: who is dead leaves nothing behind, who lives is left alone."""

from __future__ import annotations

from redis.asyncio import Redis

from fanout.bus.client import Link
from fanout.bus.keys import Keys, path_member
from fanout.bus.sweep import Sweeper, clean
from tests.fanout.bus.harness import room

KEYS = Keys("p:")


async def add_gateway(redis: Redis, gateway_id: str, buckets: int = 3, is_alive: bool = False) -> None:
    """What a gateway writes, as `membership` and `registration` do."""
    if is_alive:
        await redis.set(KEYS.heartbeat(gateway_id), 1)
    await redis.xadd(KEYS.inbox(gateway_id), {"note": "hello"})
    await redis.sadd(KEYS.gateways, gateway_id)
    bucket_keys = [KEYS.bucket(room(str(number))) for number in range(buckets)]
    for key in bucket_keys:
        await redis.sadd(key, gateway_id)
    await redis.sadd(KEYS.buckets(gateway_id), *bucket_keys)
    await redis.sadd(KEYS.paths, path_member(gateway_id, "onCreateMessage", "roomId"))


async def test_who_is_silent_in_two_looks_is_cleaned_up_after(link: Link, redis: Redis) -> None:
    await add_gateway(redis, "dead", buckets=1100)
    await add_gateway(redis, "alive", is_alive=True)
    versions = await redis.mget(KEYS.gateways_version, KEYS.paths_version)
    sweeper = Sweeper(KEYS)
    assert await sweeper.sweep(link) == []
    assert await redis.smembers(KEYS.gateways) == {"dead", "alive"}
    assert await sweeper.sweep(link) == ["dead"]
    assert await sweeper.sweep(link) == []
    assert await redis.smembers(KEYS.gateways) == {"alive"}
    assert await redis.smembers(KEYS.paths) == {"alive|onCreateMessage|roomId"}
    assert await redis.keys("*dead*") == []
    assert sorted(await redis.keys("p:bucket:*")) == sorted(KEYS.bucket(room(str(number))) for number in range(3))
    now = await redis.mget(KEYS.gateways_version, KEYS.paths_version)
    assert all(then != after for then, after in zip(versions, now, strict=True))


async def test_looks_before_a_lost_connection_do_not_count(link: Link, redis: Redis) -> None:
    await add_gateway(redis, "silent")
    sweeper = Sweeper(KEYS)
    await sweeper.sweep(link)
    sweeper.forget()
    assert await sweeper.sweep(link) == []
    assert await sweeper.sweep(link) == ["silent"]


async def test_who_comes_back_between_two_looks_is_left_alone(link: Link, redis: Redis) -> None:
    await add_gateway(redis, "late")
    sweeper = Sweeper(KEYS)
    await sweeper.sweep(link)
    await redis.set(KEYS.heartbeat("late"), 1)
    assert await sweeper.sweep(link) == []
    await redis.delete(KEYS.heartbeat("late"))
    assert await sweeper.sweep(link) == []
    assert await redis.exists(KEYS.inbox("late"))


async def test_who_comes_back_at_the_last_moment_is_left_alone(link: Link, redis: Redis) -> None:
    await add_gateway(redis, "late", is_alive=True)
    assert not await Sweeper(KEYS)._fence(link, "late")
    assert await redis.exists(KEYS.inbox("late"))
    assert await redis.smembers(KEYS.gateways) == {"late"}


async def test_cleaning_can_be_repeated(link: Link, redis: Redis) -> None:
    await add_gateway(redis, "dead")
    await add_gateway(redis, "alive", is_alive=True)
    await clean(link, KEYS, "dead")
    keys = await redis.keys()
    await clean(link, KEYS, "dead")
    await clean(link, KEYS, "never there")
    assert sorted(await redis.keys()) == sorted(keys)


async def test_no_gateway_at_all(link: Link) -> None:
    assert await Sweeper(KEYS).sweep(link) == []
