"""Streams and checkpoints that lose something, before and after it was routed: who missed it is told, nobody else."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from fanout.bus.entries import EntryId
from tests.fanout.bus.harness import (
    CHECKPOINT,
    EPOCH,
    LEASE,
    SHORT_LEASE,
    STREAM,
    Gate,
    Start,
    build_entry,
    message,
    pretend_member,
    publish_numbers,
    room,
    set_user,
    until,
    until_redis,
)


@pytest.mark.parametrize("is_exact", [True, False])
async def test_entries_trimmed_before_they_were_routed_are_told_to_everybody(
    url: str, redis: Redis, gate: Gate, start_gateway: Start, is_exact: bool
) -> None:
    router = await start_gateway(gate.url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("a")])
    await other.bus.publish([message("a", 0)])
    await until(lambda: router.numbers == other.numbers == [0])
    await until(lambda: router.metrics.events_routed == 1)

    async def is_reading() -> bool:
        return any(client["name"] == "fanout-stream" and "b" in client["flags"] for client in await redis.client_list())

    await until_redis(is_reading)
    gate.hold()
    # The first is the answer to a read that is under way. Somebody else's MAXLEN is far below the size of a batch.
    count = 20 if is_exact else 350
    for number in range(1, count):
        entry = build_entry("a", number)
        await redis.xadd(STREAM, entry, maxlen=3 if is_exact else 10, approximate=not is_exact)
    left = await redis.xlen(STREAM)
    assert left < count - 2
    gate.release()
    for gateway in (router, other):
        await until(lambda gateway=gateway: gateway.missed == ["history-trimmed"])
        await until(lambda gateway=gateway: gateway.numbers == [0, 1, *range(count - left, count)])
    # It counts right from here on.
    await redis.xtrim(STREAM, maxlen=0, approximate=False)
    await other.bus.publish([message("a", 1000)])
    await until(lambda: router.numbers[-1] == other.numbers[-1] == 1000)
    assert router.missed == other.missed == ["history-trimmed"]


async def test_trimming_what_was_routed_is_no_loss(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url, lease_ms=30)
    for number in range(300):
        entry = build_entry("a", number)
        entry_id = await redis.xadd(STREAM, entry)
        if number % 10 == 0:

            async def is_routed(entry_id: str = entry_id) -> bool:
                return bool(await redis.hget(CHECKPOINT, "id") == entry_id)

            await until_redis(is_routed)
            await redis.xtrim(STREAM, maxlen=number % 3, approximate=False)
            await redis.set(LEASE, "thief", px=1)
    await until(lambda: gateway.numbers == list(range(300)))
    assert gateway.missed == []


async def test_who_joined_after_the_loss_has_missed_nothing(url: str, redis: Redis, start_gateway: Start) -> None:
    first = await start_gateway(url)
    await first.bus.publish([message("a", 0)])
    await until(lambda: first.metrics.events_routed == 1)
    await first.bus.stop()
    await pretend_member(redis, "stopped")
    for number in range(10):
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": f'{{"number": {number}}}'}, maxlen=2)
    await redis.xtrim(STREAM, maxlen=2, approximate=False)
    second = await start_gateway(url)
    await until(lambda: second.metrics.events_routed == 2)
    assert second.missed == []


@pytest.mark.parametrize("restarts_below", [False, True])
async def test_a_stream_that_was_replaced_is_told_and_read_on(
    url: str, redis: Redis, start_gateway: Start, restarts_below: bool
) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("a")])
    await publish_numbers(router, "a", range(20))
    await until(lambda: router.numbers == other.numbers == list(range(20)))
    await until(lambda: router.metrics.events_routed == 20)
    await redis.delete(STREAM)
    entry = build_entry("a", 20)
    await redis.xadd(STREAM, entry, id="5-5" if restarts_below else "*")
    await until(lambda: router.missed == other.missed == ["history-lost"])
    await redis.xadd(STREAM, build_entry("a", 21), id="5-6" if restarts_below else "*")
    await until(lambda: router.numbers[-1] == other.numbers[-1] == 21)
    assert router.missed == other.missed == ["history-lost"]


@pytest.mark.parametrize("lost", [5, 0])
async def test_a_stream_that_went_back_is_told_though_it_has_gone_on_since(
    redis: Redis, gate: Gate, start_gateway: Start, lost: int
) -> None:
    """As when a replica takes over that lacks the last writes: entries, and with them the checkpoint's last moves."""
    gateway = await start_gateway(gate.url)
    await publish_numbers(gateway, "a", range(20))
    await until(lambda: gateway.metrics.events_routed == 20)
    entries = (await redis.xrange(STREAM))[: 20 - lost]
    gate.hold()
    await redis.delete(STREAM)
    for entry_id, fields in entries:
        await redis.xadd(STREAM, fields, id=entry_id)
    await redis.hset(CHECKPOINT, mapping={"id": entries[-1][0], "read": len(entries)})
    for number in range(20, 50):
        await redis.xadd(STREAM, build_entry("a", number))
    gate.cut()
    gate.release()
    if lost:
        await until(lambda: gateway.missed == ["history-lost"])
        assert gateway.numbers == list(range(20)), "nothing arrives after a gap"
    else:
        await until(lambda: gateway.numbers == list(range(50)))
        assert gateway.missed == []
    await gateway.bus.publish([message("a", 50)])
    await until(lambda: gateway.numbers[-1] == 50)


async def test_a_lost_checkpoint_is_told(url: str, redis: Redis, start_gateway: Start) -> None:
    gateway = await start_gateway(url)
    await gateway.bus.publish([message("a", 0)])
    await until(lambda: gateway.metrics.events_routed == 1)
    await redis.delete(CHECKPOINT, LEASE)
    await until(lambda: gateway.missed == ["history-lost"])
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [0, 1])


async def test_a_doubtful_checkpoint_is_told_when_somebody_who_might_know_is_gone(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """A replica that has taken over, or a restarted server, may lack what a dead router had read and given to some."""
    gateways = [await start_gateway(url, **SHORT_LEASE) for _ in range(2)]
    await until(lambda: any(gateway.is_router for gateway in gateways))
    await redis.set(LEASE, "thief", px=60_000)
    await until(lambda: not any(gateway.is_router for gateway in gateways))
    await redis.set(EPOCH, "before")
    await redis.hset(CHECKPOINT, mapping={"server": "another", "w:dead": ""})
    await redis.delete(LEASE)
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.missed == ["history-lost"])
    assert await redis.strlen(EPOCH) == 8, "and positions expire"
    await until(lambda: any(gateway.is_router for gateway in gateways))
    await gateways[0].bus.publish([message("a", 1)])
    router = next(gateway for gateway in gateways if gateway.is_router)
    await until(lambda: router.numbers == [1])
    assert set(await redis.hgetall(CHECKPOINT)) == {"id", "read", "server"}


@pytest.mark.parametrize("is_lost", [False, True])
async def test_all_are_heard_before_a_doubtful_checkpoint_is_believed(
    url: str, redis: Redis, gate: Gate, start_gateway: Start, is_lost: bool
) -> None:
    """Whoever takes the lease has lost nothing; another gateway may have taken what is gone."""
    apart = await start_gateway(gate.url, **SHORT_LEASE)
    await until(lambda: apart.is_router)
    other = await start_gateway(url, **SHORT_LEASE)
    for gateway in (apart, other):
        await gateway.bus.register([room("a")])
    await other.bus.publish([message("a", 0)])
    await until(lambda: apart.numbers == other.numbers == [0])
    gate.hold()
    await redis.set(LEASE, "thief", px=60_000)
    await redis.hset(CHECKPOINT, "server", "another")
    if is_lost:
        apart.bus._local.intake.advance(STREAM, EntryId(2**60, 0))
    await other.bus.publish([message("a", 1)])
    await redis.config_resetstat()
    await redis.delete(LEASE)

    async def is_waiting() -> bool:
        return int((await redis.info("commandstats")).get("cmdstat_hsetnx", {"calls": 0})["calls"]) >= 6

    await until_redis(is_waiting)
    assert not other.is_router
    assert other.numbers == [0]
    gate.cut()
    gate.release()
    if is_lost:
        # Perhaps twice, if the lease is lost on a busy machine before the checkpoint names the present server.
        await until(lambda: set(apart.missed) == set(other.missed) == {"history-lost"})
    else:
        await until(lambda: apart.numbers == other.numbers == [0, 1])
        assert apart.missed == other.missed == []


async def test_the_router_looks_now_and_then_which_server_it_is(url: str, redis: Redis, start_gateway: Start) -> None:
    """Behind a proxy, or in a cluster whose slots are moved, it may become another one without a broken connection."""
    gateway = await start_gateway(url, **SHORT_LEASE)
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])
    gateway.bus._routers[STREAM]._server = "another"
    await gateway.bus.publish([message("a", 2)])
    await until(lambda: gateway.bus._routers[STREAM]._server != "another")
    await until(lambda: gateway.numbers == [1, 2])
    assert gateway.missed == []


@pytest.mark.single_server
async def test_a_user_that_may_not_ask_which_server_it_is_routes_as_ever_and_the_log_says_so_once(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await set_user(redis, "mute", "on", ">hunter2", "~*", "&*", "+@all", "-info")
    gateway = await start_gateway(url.replace("://", "://mute:hunter2@", 1), **SHORT_LEASE)
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])
    await redis.set(LEASE, "thief", px=60_000)
    await until(lambda: not gateway.is_router)
    await redis.hset(CHECKPOINT, mapping={"server": "another", "w:dead": ""})
    await redis.delete(LEASE)
    await gateway.bus.publish([message("a", 2)])
    await until(lambda: gateway.numbers == [1, 2])
    assert gateway.missed == []
    assert caplog.text.count("allow the user of redis_url to run INFO (ACL +info)") == 1


async def test_a_stopped_router_that_lost_its_lease_tells_nobody_of_a_loss(
    url: str, redis: Redis, gate: Gate, start_gateway: Start
) -> None:
    """Its successor has routed what is trimmed by the time it goes on."""
    stopped = await start_gateway(gate.url, **SHORT_LEASE)
    await until(lambda: stopped.is_router)
    successor = await start_gateway(url)
    for gateway in (stopped, successor):
        await gateway.bus.register([room("a")])
    await successor.bus.publish([message("a", 0)])
    await until(lambda: stopped.numbers == successor.numbers == [0])
    gate.hold_after(b"XREAD")
    await until(lambda: gate.is_holding)
    for number in range(1, 20):
        await successor.bus.publish([message("a", number)])
    await until(lambda: successor.numbers == list(range(20)))
    await redis.xtrim(STREAM, maxlen=1, approximate=False)
    gate.release()
    await until(lambda: stopped.numbers == list(range(20)))
    await successor.bus.publish([message("a", 20)])
    for gateway in (stopped, successor):
        await until(lambda gateway=gateway: gateway.numbers == list(range(21)))
        assert gateway.missed == []
