"""A stream's epoch: made once, the same for everybody, another one when it is renewed or lost."""

from __future__ import annotations

from redis.asyncio import Redis

from fanout.bus.client import Link
from fanout.bus.epochs import UNKNOWN, EpochReader, renew_epoch
from fanout.bus.keys import Keys
from tests.fanout.bus.harness import STREAM

KEYS = Keys("fanout:")


async def read(link: Link, stream: str = STREAM) -> bytes:
    reader = EpochReader(KEYS, stream)
    (answer,) = await link.call(reader.build_command())
    return reader.read(answer)


async def test_everybody_reads_the_same(link: Link) -> None:
    first = await read(link)
    assert len(first) == 8
    assert await read(link) == first
    assert await read(link, "another") != first


async def test_it_is_another_one_when_renewed_or_lost(link: Link, redis: Redis) -> None:
    seen = {await read(link)}
    await renew_epoch(link, KEYS, STREAM)
    seen.add(await read(link))
    await redis.delete(KEYS.epoch(STREAM))
    seen.add(await read(link))
    assert len(seen) == 3


async def test_what_somebody_else_wrote_there_is_no_epoch(link: Link, redis: Redis) -> None:
    await redis.set(KEYS.epoch(STREAM), "nonsense that is long")
    assert await read(link) == UNKNOWN
