"""The streams' past on a real server: what is there, what is not any more, and how far a gateway has come."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from fanout.bus.entries import START, EntryId, parse_id
from fanout.bus.keys import Keys
from fanout.engine import HistoryGone, Token
from fanout.errors import PositionExpired, Unavailable
from tests.fanout.bus.harness import STREAM, Gate, Gateway, Start, message, room, until

KEYS = Keys("fanout:")


async def publish(gateway: Gateway, count: int, **fields: Any) -> list[EntryId]:
    ids = await gateway.bus.publish([message("a", number, **fields) for number in range(count)])
    return [parse_id(id) for id in ids]


async def check(gateway: Gateway, text: str) -> object:
    """Where a subscription would begin, or why not."""
    look = await gateway.bus.history.look([gateway.bus.history.read_token(text)])
    return look.starts[0]


async def read_all(gateway: Gateway, after: EntryId, up_to: EntryId) -> list[int]:
    numbers: list[int] = []
    while after < up_to:
        chunk = await gateway.bus.history.read(0, after, up_to)
        assert after < chunk.reached <= up_to
        numbers += [event.data["number"] for _, event in chunk.events]
        after = EntryId(*chunk.reached)
    return numbers


async def test_what_came_after_a_position_is_read_in_chunks(url: str, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    ids = await publish(gateway, 700)
    assert await read_all(gateway, START, ids[-1]) == list(range(700))
    assert await read_all(gateway, ids[9], ids[650]) == list(range(10, 651))
    chunk = await gateway.bus.history.read(0, START, ids[-1])
    assert len(chunk.events) <= 257  # from the very beginning there is no entry to begin with
    assert gateway.metrics.entries_replayed > 1300


async def test_large_entries_come_in_small_chunks(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    data = orjson.dumps({"roomId": "a", "number": 1, "content": "x" * 100_000})
    for _ in range(70):
        last = await redis.xadd(STREAM, {"mutation": "createMessage", "data": data})
    history, up_to = gateway.bus.history, parse_id(last)
    first = await history.read(0, START, up_to)
    assert len((await history.read(0, first.reached, up_to)).events) <= 3


async def test_what_was_not_delivered_is_not_replayed(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    await gateway.bus.publish([message("a", 1, key="k"), message("a", 2, key="k"), message("a", 3)])
    await redis.xadd(STREAM, {"mutation": "createMessage", "data": "{"})
    await redis.xadd(STREAM, {"mutation": "nobodyKnows", "data": "{}"})
    await redis.xadd(STREAM, {"mutation": "unlinked", "data": "{}"})
    await gateway.bus.publish([message("a", 4, key="k"), message("a", 5)])
    await until(lambda: gateway.numbers == [1, 3, 5])
    # The keys are forgotten after a while; what was decided is not.
    for key in await redis.keys("fanout:idempotency:*"):
        await redis.delete(key)
    assert await read_all(gateway, START, parse_id(gateway.ids[-1])) == [1, 3, 5]


async def test_notes_of_duplicates_go_with_the_entries(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    for number in range(300):
        await gateway.bus.publish([message("a", number, key="k")])
    await until(lambda: gateway.metrics.duplicates == 299)
    await redis.xtrim(STREAM, 1, approximate=False)
    await gateway.bus.publish([message("a", 300, key="k")])
    await until(lambda: gateway.metrics.duplicates == 300)
    assert await redis.xlen(KEYS.duplicates(STREAM)) < 150


async def test_positions_of_any_gateway_are_good_on_any_other(url: str, start_gateway: Start) -> None:
    one, two = [await start_gateway(url) for _ in range(2)]
    ids = await publish(one, 3)
    present = await two.bus.history.find_position()
    assert await check(one, present) == (ids[-1],)
    await one.bus.history.look([])
    text = one.bus.history.write_position(STREAM, str(ids[0])).decode()
    assert await check(two, text) == (ids[0],)
    assert one.bus.history.write_token((ids[0],)).decode() == text


async def test_a_position_from_before_the_first_event(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    text = await gateway.bus.history.find_position()
    assert await check(gateway, text) == (START,)
    await publish(gateway, 3)
    assert await check(gateway, text) == (START,)
    await redis.xtrim(STREAM, 2, approximate=False)
    assert isinstance(await check(gateway, text), PositionExpired)


async def test_what_is_trimmed_is_gone(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    ids = await publish(gateway, 10)
    await gateway.bus.history.look([])
    texts = [gateway.bus.history.write_token((id,)).decode() for id in ids]
    await redis.xtrim(STREAM, 4, approximate=False)
    for number, text in enumerate(texts):
        start = await check(gateway, text)
        assert start == (ids[number],) if number >= 6 else isinstance(start, PositionExpired), number
    with pytest.raises(HistoryGone):
        await gateway.bus.history.read(0, ids[5], ids[-1])
    with pytest.raises(HistoryGone):
        await gateway.bus.history.read(0, START, ids[-1])
    assert await read_all(gateway, ids[6], ids[-1]) == [7, 8, 9]
    await redis.xtrim(STREAM, 0)
    assert await check(gateway, texts[-1]) == (ids[-1],)
    assert isinstance(await check(gateway, texts[-2]), PositionExpired)


async def test_a_stream_that_was_replaced_is_noticed_by_the_router(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateway = await start_gateway(url)
    empty = await gateway.bus.history.find_position()
    await publish(gateway, 5)
    full = await gateway.bus.history.find_position()
    await until(lambda: len(gateway.events) == 5)
    await redis.delete(STREAM)
    await publish(gateway, 3)
    await until(lambda: gateway.missed == ["history-lost"])
    for text in (empty, full):
        assert isinstance(await check(gateway, text), PositionExpired)
    assert isinstance(await check(gateway, await gateway.bus.history.find_position()), tuple)


async def test_a_stream_that_was_replaced_while_nobody_looked_is_noticed_too(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    first = Gateway(url)
    await first.bus.start()
    ids = await publish(first, 5)
    texts = [first.bus.history.write_token((id,)).decode() for id in ids[:-1]]
    texts.append(await first.bus.history.find_position())
    await first.bus.stop()
    await redis.delete(STREAM)
    for number in range(20):
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": orjson.dumps({"number": number})})
    second = await start_gateway(url)
    for text in texts:
        assert isinstance(await check(second, text), PositionExpired)


async def test_lost_data_expires_all_positions(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    text = await gateway.bus.history.find_position()
    await redis.flushall()
    assert isinstance(await check(gateway, text), PositionExpired)


async def test_other_streams_make_other_positions(url: str, start_gateway: Start) -> None:
    one = await start_gateway(url)
    text = await one.bus.history.find_position()
    two = await start_gateway(url, stream=("fanout:events", "more"))
    with pytest.raises(PositionExpired, match="other streams"):
        two.bus.history.read_token(text)
    other = await start_gateway(url, stream=("other",))
    assert isinstance(await check(other, text), PositionExpired)
    # Their order in the settings does not matter.
    same = await start_gateway(url, stream=("more", "fanout:events"))
    assert await check(same, await two.bus.history.find_position()) == (START, START)


async def test_taken_goes_over_what_is_for_others(url: str, redis: Redis, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("b")])
    ids = await publish(router, 10)
    history = other.bus.history
    assert history.taken() < (ids[-1],)

    async def reaches(place: EntryId) -> None:
        while history.taken() < (place,):
            await history.advance()

    await reaches(ids[-1])
    assert other.events == []
    last = parse_id(await redis.xadd(STREAM, {"mutation": "unlinked", "data": "{}"}))
    await reaches(last)
    # What comes for it after that is not taken for old.
    await router.bus.publish([message("b", 1)])
    await until(lambda: other.numbers == [1])


async def test_nothing_is_taken_for_taken_that_was_put_into_the_inbox(
    url: str, gate: Gate, start_gateway: Start
) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(gate.url)
    await other.bus.register([room("a")])
    gate.hold()
    ids = await publish(router, 5)
    await until(lambda: router.metrics.events_forwarded == 5)
    gate.release()
    while other.bus.history.taken() < (ids[-1],):
        try:
            await other.bus.history.advance()
        except Unavailable:
            pass
        taken = other.bus.history.taken()
        assert [id for id in ids if (id,) <= taken] == [parse_id(id) for id in other.ids]


async def test_the_position_of_this_moment_is_read_once_for_all_who_ask_together(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateway = await start_gateway(url)
    await redis.config_resetstat()
    positions = await asyncio.gather(*(gateway.bus.history.find_position() for _ in range(50)))
    assert len(set(positions)) == 1
    (id,) = await publish(gateway, 1)
    assert await check(gateway, await gateway.bus.history.find_position()) == (id,)


async def test_without_redis_there_is_no_position(start_gateway: Start, own_server: Any) -> None:
    gateway = await start_gateway(own_server.url)
    own_server.stop()
    with pytest.raises(Unavailable):
        await gateway.bus.history.find_position()
    with pytest.raises(Unavailable):
        await gateway.bus.history.look([Token((b"x" * 8,), (START,))])


@pytest.mark.single_server
async def test_a_stream_that_may_not_be_looked_at_is_not_taken_for_one_without_entries(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    await redis.execute_command("ACL", "SETUSER", "blind", "on", ">hunter2", "~*", "&*", "+@all")
    gateway = await start_gateway(url.replace("://", "://blind:hunter2@", 1))
    await publish(gateway, 3)
    await redis.execute_command("ACL", "SETUSER", "blind", "-xinfo|stream")
    with pytest.raises(Unavailable, match="permissions"):
        await gateway.bus.history.find_position()
    await redis.execute_command("ACL", "SETUSER", "blind", "+xinfo|stream")
    assert await check(gateway, await gateway.bus.history.find_position()) == (gateway.bus.history.taken())


async def test_a_position_asked_for_changes_nothing_of_what_is_known_of_the_streams(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """It is asked on another connection, so its answer may be the older one although it is read last."""
    gateway = await start_gateway(url)
    history = gateway.bus.history
    await history.look([None])
    before = history.write_token(history.taken())
    await redis.set(KEYS.epoch(STREAM), "another!")
    told = await history.find_position()
    assert history.write_token(history.taken()) == before
    assert told.encode() != before
    assert await check(gateway, told) == history.taken()
    assert history.write_token(history.taken()) == told.encode()
