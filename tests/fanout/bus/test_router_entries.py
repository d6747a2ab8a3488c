"""What comes in a stream's entries: malformed ones, repetitions; and what Redis refuses on their way."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.errors import Unavailable
from tests.fanout.bus.harness import (
    CHECKPOINT,
    DEAD,
    LEASE,
    SHORT_LEASE,
    STREAM,
    Start,
    message,
    pretend_member,
    room,
    set_user,
    until,
)


async def test_malformed_entries_are_put_aside_and_skipped(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(url)
    bad = [
        {"data": "{}"},
        {"mutation": "createMessage"},
        {"mutation": "createMessage", "data": "{"},
        {"mutation": "deleteEverything", "data": "{}"},
        {"mutation": "createMessage", "data": "{}", "at": "yesterday"},
        {b"mutation": b"\xff", b"data": b"{}"},
        {"mutation": "createMessage", "data": "[" * 100_000},
        {"noise": "x" * 10_000},
    ]
    ids = [await redis.xadd(STREAM, entry) for entry in bad]
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])
    reader = Link(Endpoint(url), "reader")
    (answer,) = await reader.call(("XRANGE", DEAD, "-", "+"))
    await reader.close()
    dead = [(entry_id, dict(zip(fields[::2], fields[1::2], strict=True))) for entry_id, fields in answer]
    assert [entry_id.decode() for entry_id, _ in dead] == ids
    assert gateway.metrics.dead_letters == len(bad)
    assert [fields[b"error"] for _, fields in dead][:2] == [
        b"field 'mutation' is missing or empty",
        b"field 'data' is missing",
    ]
    assert b"not in the schema" in dead[3][1][b"error"]
    assert dead[3][1][b"mutation"] == b"deleteEverything"
    assert max(len(value) for _, fields in dead for value in fields.values()) == 4096
    assert ids[0] in caplog.text


async def test_data_that_cannot_be_the_mutations_result_is_put_aside(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateway = await start_gateway(url)
    for data in ("null", "[]", '"{}"', '{"roomId": "a", "number": 1}'):
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": data})
    await until(lambda: gateway.numbers == [1])
    dead = await redis.xrange(DEAD)
    assert [fields["data"] for _, fields in dead] == ["null", "[]", '"{}"']
    assert {fields["error"] for _, fields in dead} == {"field 'data' does not fit: it is no object"}


async def test_a_flood_of_malformed_entries_is_counted_and_does_not_fill_the_log(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = await start_gateway(url)
    async with redis.pipeline(transaction=False) as pipeline:
        for _ in range(300):
            pipeline.xadd(STREAM, {"no": "event"})
        await pipeline.execute()
    await until(lambda: gateway.metrics.dead_letters == 300)
    assert caplog.text.count("is put aside") == 10


async def test_dead_letters_are_bounded_and_not_doubled(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url, dead_letter_max_length=10, read_batch_size=32)
    async with redis.pipeline(transaction=False) as pipeline:
        for _ in range(1000):
            pipeline.xadd(STREAM, {"no": "event"})
        await pipeline.execute()
    await until(lambda: gateway.metrics.dead_letters == 1000)
    await until(lambda: gateway.metrics.events_routed == 1000)
    length = await redis.xlen(DEAD)
    assert length < 200  # trimmed by whole nodes
    await gateway.bus.stop()
    # The router died before it moved the checkpoint: the last entries are routed again.
    last_but_two = (await redis.xrevrange(STREAM, count=3))[-1][0]
    await redis.hset(CHECKPOINT, mapping={"id": last_but_two, "read": 998})
    await pretend_member(redis, "stopped")
    again = await start_gateway(url)
    await until(lambda: again.metrics.events_routed == 2)
    assert await redis.xlen(DEAD) == length


async def test_a_second_event_with_the_same_key_is_dropped(url: str, redis: Redis, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("a")])
    await router.bus.publish([message("a", 1, key="one"), message("a", 2, key="two"), message("a", 3, key="one")])
    await router.bus.publish([message("a", 4, key="two"), message("a", 5), message("a", 6)])
    await until(lambda: router.numbers == other.numbers == [1, 2, 5, 6])
    assert router.metrics.duplicates == 2
    assert 0 < await redis.pttl("fanout:idempotency:fanout%3Aevents:one") <= 300_000


async def test_an_event_with_a_key_that_is_routed_again_is_no_duplicate(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """A router claimed the key and died before it forwarded the event."""
    router = await start_gateway(url, **SHORT_LEASE)
    await until(lambda: router.is_router)
    await redis.set(LEASE, "thief", px=60_000)
    await until(lambda: not router.is_router)
    event_id, second_id = await router.bus.publish([message("a", 1, key="k"), message("a", 2, key="k")])
    await redis.set("fanout:idempotency:fanout%3Aevents:k", event_id)
    await redis.delete(LEASE)
    await until(lambda: router.metrics.events_routed == 2)
    assert router.ids == [event_id]
    assert second_id != event_id


@pytest.mark.parametrize("refused", ["XADD", "WRONGTYPE", "SADD", "XREAD"])
async def test_a_gateway_that_is_refused_something_is_not_ready_and_says_why(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    rules = ["on", ">hunter2", "~*", "&*", "+@all"]
    await set_user(redis, "some", *rules)
    gateway = await start_gateway(url.replace("://", "://some:hunter2@", 1))
    await until(lambda: gateway.is_router and gateway.bus.is_ready)
    waiting = None
    if refused == "WRONGTYPE":
        await redis.set(STREAM, "no stream")
        part = f"router of {STREAM}"
    else:
        await set_user(redis, "some", f"-{refused.lower()}")
        part = {"XADD": f"publisher to {STREAM}", "SADD": "registration", "XREAD": "inbox"}[refused]
    if refused == "XADD":
        with pytest.raises(Unavailable, match="permissions"):
            await gateway.bus.publish([message("a", 0)])
    if refused == "SADD":
        waiting = asyncio.create_task(gateway.bus.register([room("a")]))
    await until(lambda: part in gateway.bus.refusal)
    assert not gateway.bus.is_ready
    assert gateway.bus.refusal.startswith("Redis refuses commands of this gateway (")
    await redis.delete(STREAM)
    await set_user(redis, "some", *rules)
    if waiting is not None:
        await waiting
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers[-1:] == [1])
    await until(lambda: gateway.bus.is_ready and gateway.bus.refusal == "")
    assert gateway.metrics.missed["membership-lost"] == 0


async def test_a_stream_that_is_no_stream_is_logged_and_tried_again(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.set(STREAM, "no stream")
    gateway = await start_gateway(url)
    await until(lambda: "cannot route stream fanout:events" in caplog.text)
    await redis.delete(STREAM)
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.events)
    assert gateway.numbers == [1]
