"""Routing, and everything that can happen to a router in the middle of it. Against a real server."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from fanout.bus.client import Endpoint, Link
from fanout.bus.entries import EntryId, Note
from fanout.bus.intake import Intake
from fanout.bus.keys import Keys
from fanout.bus.placement import Placement
from fanout.bus.positions import Position
from fanout.bus.refusals import Refusals
from fanout.bus.router import Router
from fanout.errors import Unavailable
from fanout.metrics import Metrics
from fanout.model import Event
from tests.fanout.bus.harness import (
    ROUTES,
    STREAM,
    ClusterClient,
    Gate,
    Gateway,
    GatewayProcess,
    message,
    publish_numbers,
    room,
    until,
    until_redis,
)

Start = Callable[..., Awaitable[Gateway]]

LEASE = "fanout:{fanout:events}:lease"
CHECKPOINT = "fanout:{fanout:events}:checkpoint"
DEAD = "fanout:{fanout:events}:dead"
EPOCH = "fanout:{fanout:events}:epoch"
FOREVER = {"heartbeat_timeout_ms": 600_000}


async def test_there_is_one_router_and_the_next_takes_over_when_it_is_gone(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateways = [await start_gateway(url) for _ in range(3)]
    await until(lambda: any(gateway.is_router for gateway in gateways))
    for _ in range(5):
        (router,) = [gateway for gateway in gateways if gateway.is_router]
        await redis.set(LEASE, "thief", px=200)
        await until(lambda router=router: not router.is_router)
        await until(lambda: any(gateway.is_router for gateway in gateways))


async def test_a_stolen_lease_ends_routing_without_moving_the_checkpoint(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateway = await start_gateway(url, lease_ms=60_000)
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.metrics.events_routed == 1)
    before = await redis.hgetall(CHECKPOINT)
    await redis.set(LEASE, "thief")
    await gateway.bus.publish([message("a", 2)])
    await until(lambda: not gateway.is_router)
    assert await redis.hgetall(CHECKPOINT) == before
    # It was delivered here by then, and is not again when this gateway has the lease back.
    await redis.set(LEASE, "thief", px=1)
    await gateway.bus.stop()
    assert gateway.numbers == [1, 2]


@pytest.mark.parametrize("stopped_after", [b"SMEMBERS", b"NOMKSTREAM", b"PEXPIRE"], ids=["lookup", "append", "advance"])
async def test_a_router_that_was_stopped_and_goes_on_as_if_nothing_had_happened(
    url: str, gate: Gate, start_gateway: Start, stopped_after: bytes
) -> None:
    stopped = await start_gateway(gate.url, **FOREVER, read_batch_size=8)
    await until(lambda: stopped.is_router)
    successor = await start_gateway(url, **FOREVER)
    third = await start_gateway(url, **FOREVER)
    late = await start_gateway(url, **FOREVER)
    for gateway in (stopped, successor, third):
        await gateway.bus.register([room("a")])
    gate.hold_after(stopped_after)
    await successor.bus.publish([message("a", number, key=f"key {number}") for number in range(20)])
    await until(lambda: gate.is_holding, "the router to be stopped")
    # It does not know of this registration, nor that what comes now is routed by another.
    await late.bus.register([room("a")])
    await successor.bus.publish([message("a", number, key=f"key {number}") for number in range(20, 40)])
    await until(lambda: third.numbers == list(range(40)) and successor.numbers == list(range(40)))
    gate.release()
    await successor.bus.publish([message("a", number) for number in range(40, 60)])
    for gateway in (stopped, successor, third):
        await until(lambda gateway=gateway: len(gateway.numbers) >= 60)
        assert gateway.numbers == list(range(60))
        assert gateway.missed == []
        assert len(set(gateway.ids)) == 60
    await until(lambda: late.numbers[-40:] == list(range(20, 60)))
    assert late.ids == sorted(late.ids, key=lambda entry_id: EntryId(*map(int, entry_id.split("-"))))


async def test_a_router_that_was_stopped_for_so_long_that_others_cleaned_up_after_it(
    url: str, redis: Redis, gate: Gate, start_gateway: Start
) -> None:
    stopped = await start_gateway(gate.url)
    await until(lambda: stopped.is_router)
    old_id = stopped.bus.gateway_id
    successor = await start_gateway(url)
    for gateway in (stopped, successor):
        await gateway.bus.register([room("a")])
    gate.hold_after(b"SMEMBERS")
    await successor.bus.publish([message("a", number) for number in range(5)])
    await until(lambda: successor.numbers == list(range(5)))
    assert gate.is_holding

    async def is_cleaned() -> bool:
        return not await redis.sismember("fanout:{gateways}", old_id)

    await until_redis(is_cleaned)
    await successor.bus.publish([message("a", 5)])
    gate.release()
    await until(lambda: stopped.missed == ["membership-lost"])
    await until(lambda: stopped.bus.is_ready)
    assert stopped.bus.gateway_id != old_id
    # Whatever it delivered before it knew is in order; what comes from now on is complete.
    assert stopped.numbers == sorted(set(stopped.numbers))
    await successor.bus.publish([message("a", number) for number in range(6, 10)])
    await until(lambda: stopped.numbers[-4:] == [6, 7, 8, 9] and successor.numbers == list(range(10)))


@pytest.mark.parametrize("stop_signal", [signal.SIGSTOP, signal.SIGKILL])
async def test_a_router_process_that_is_stopped_or_killed(
    url: str, start_gateway: Start, stop_signal: signal.Signals
) -> None:
    """The same with a process of its own, stopped at any place."""
    async with GatewayProcess(url, room("a")).running() as process:
        await until(lambda: "routing" in process.lines)
        successor = await start_gateway(url, **FOREVER)
        await successor.bus.register([room("a")])
        publishing = asyncio.create_task(publish_numbers(successor, "a", range(300)))
        await until(lambda: len(successor.numbers) > 20)
        process.send(stop_signal)
        await publishing
        await until(lambda: len(successor.numbers) >= 300)
        await until(lambda: successor.is_router)
        if stop_signal == signal.SIGSTOP:
            process.send(signal.SIGCONT)
            await publish_numbers(successor, "a", range(300, 400))
            await until(lambda: len(process.numbers) >= 400)
            assert process.numbers == list(range(400))
            assert "missed" not in process.lines
        else:
            await publish_numbers(successor, "a", range(300, 400))
        await until(lambda: len(successor.numbers) >= 400)
        assert successor.numbers == list(range(400))
        assert successor.missed == []


async def test_order_and_completeness_while_the_lease_and_connections_are_taken_away(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """Everything at once: what every gateway gets is each event once, in order."""
    chance = random.Random(2)
    gateways = [await start_gateway(url, **FOREVER, read_batch_size=16, lease_ms=30) for _ in range(3)]
    for gateway in gateways:
        await gateway.bus.register([room("a")])
    routers = set()
    for number in range(600):
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {number}}}'})
        if number % 15 == 0:
            await redis.set(LEASE, "thief", px=chance.randrange(1, 20))
        if number % 31 == 0:
            clients = [client["id"] for client in await redis.client_list() if client["name"].startswith("fanout-")]
            await redis.client_kill_filter(_id=chance.choice(clients))
        if number % 15 == 10:
            await until(lambda: any(gateway.is_router for gateway in gateways))
        routers |= {index for index, gateway in enumerate(gateways) if gateway.is_router}
    for gateway in gateways:
        await until(lambda gateway=gateway: len(gateway.numbers) >= 600)
        assert gateway.numbers == list(range(600))
        assert gateway.missed == []
    assert len(routers) > 1


async def test_the_own_inbox_is_read_out_before_own_events_are_delivered(url: str, redis: Redis) -> None:
    """The holder before has put events into the inbox; overtaking them would make the intake drop them."""

    class Member:
        gateway_id = "me"
        may_go_on = asyncio.Event()
        asked: tuple[str, EntryId] | None = None

        async def wait_verified(self) -> None:
            pass

        async def wait_inbox_read(self, gateway_id: str, up_to: EntryId) -> None:
            self.asked = (gateway_id, up_to)
            await self.may_go_on.wait()

        def entered_at(self, stream: str) -> Position:
            return Position()

        def note(self, note: Note) -> None:
            raise AssertionError(note)

    keys, metrics, member = Keys("fanout:"), Metrics(), Member()
    delivered: list[str] = []
    intake = Intake(lambda stream, events: delivered.extend(event.id for event in events), metrics)
    inbox_end = await redis.xadd(keys.inbox("me"), {"note": "hello"})
    await redis.hset(CHECKPOINT, mapping={"id": "0-0", "read": 0})
    event_id = await redis.xadd(STREAM, {"mutation": "createMessage", "data": "{}"})
    commands, reads = Link(Endpoint(url), "commands"), Link(Endpoint(url), "reads")
    settings = Gateway(url, lease_ms=90).settings
    router = Router(
        STREAM, settings, keys, commands, reads, member, ROUTES.get, intake, metrics, Placement(1, 90), Refusals()
    )
    task = asyncio.create_task(router.run())
    await until(lambda: member.asked is not None)
    assert member.asked == ("me", EntryId(*map(int, inbox_end.split("-"))))
    # It waits for longer than its lease lasts without being renewed.
    token = await redis.get(LEASE)
    renewals = 6 + await _count_scripts(redis)

    async def is_renewed() -> bool:
        return await _count_scripts(redis) >= renewals

    await until_redis(is_renewed)
    assert await redis.get(LEASE) == token
    assert delivered == []
    member.may_go_on.set()
    await until(lambda: delivered == [event_id])
    task.cancel()
    await asyncio.wait([task])
    await commands.close()
    await reads.close()


async def test_a_new_router_starts_at_the_checkpoint_when_others_may_need_it(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """A member that nobody has heard of yet may come back, and finds in its inbox what it was promised."""
    first = await start_gateway(url, **FOREVER)
    await until(lambda: first.is_router)
    await first.bus.stop()
    await redis.sadd("fanout:{gateways}", "stopped")
    await redis.xadd("fanout:{gateway:stopped}:inbox", {"note": "hello"})
    await redis.set("fanout:{gateway:stopped}:heartbeat", 1)
    await redis.sadd("fanout:{paths}", "stopped|onCreateMessage|roomId")
    await redis.sadd("fanout:bucket:onCreateMessage:roomId:sa", "stopped")
    await redis.xadd(STREAM, {"mutation": "createMessage", "data": '{"roomId": "a", "number": 1}'})
    second = await start_gateway(url)
    await until(lambda: second.metrics.events_forwarded == 1)
    assert await redis.xlen("fanout:{gateway:stopped}:inbox") == 2
    assert second.events == []


@pytest.mark.parametrize("is_exact", [True, False])
async def test_entries_trimmed_before_they_were_routed_are_told_to_everybody(
    url: str, redis: Redis, gate: Gate, start_gateway: Start, is_exact: bool
) -> None:
    router = await start_gateway(gate.url, **FOREVER, lease_ms=60_000)
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
        entry = {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {number}}}'}
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
        entry = {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {number}}}'}
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
    await redis.sadd("fanout:{gateways}", "stopped")  # so that the next router starts at the checkpoint
    await redis.set("fanout:{gateway:stopped}:heartbeat", 1)
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
    entry = {"mutation": "createMessage", "data": '{"roomId": "a", "number": 20}'}
    await redis.xadd(STREAM, entry, id="5-5" if restarts_below else "*")
    await until(lambda: router.missed == other.missed == ["history-lost"])
    await redis.xadd(STREAM, {**entry, "data": '{"roomId": "a", "number": 21}'}, id="5-6" if restarts_below else "*")
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
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {number}}}'})
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


async def test_a_doubtful_checkpoint_is_told_when_nobody_is_left_who_knows(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    """A replica that has taken over, or a restarted server, may lack what a dead router had read and given to some."""
    gateways = [await start_gateway(url, **FOREVER) for _ in range(2)]
    await until(lambda: any(gateway.is_router for gateway in gateways))
    await redis.set(LEASE, "thief", px=60_000)
    await until(lambda: not any(gateway.is_router for gateway in gateways))
    await redis.set(EPOCH, "before")
    await redis.hset(CHECKPOINT, mapping={"holder": "dead", "server": "another"})
    await redis.delete(LEASE)
    for gateway in gateways:
        await until(lambda gateway=gateway: gateway.missed == ["history-lost"])
    assert await redis.strlen(EPOCH) == 8, "and positions expire"
    await until(lambda: any(gateway.is_router for gateway in gateways))
    router = next(gateway for gateway in gateways if gateway.is_router)
    await until_redis(lambda: _is_noted(redis, router))
    await router.bus.publish([message("a", 1)])
    await until(lambda: router.numbers == [1])


async def test_whoever_knows_comes_first_after_a_restart_and_nobody_is_told(
    url: str, redis: Redis, gate: Gate, start_gateway: Start
) -> None:
    router = await start_gateway(gate.url, **FOREVER)
    await until(lambda: router.is_router)
    other = await start_gateway(url, **FOREVER)
    for gateway in (router, other):
        await gateway.bus.register([room("a")])
    await other.bus.publish([message("a", 0)])
    await until(lambda: router.numbers == other.numbers == [0])
    await until_redis(lambda: _is_noted(redis, router))
    gate.hold_after(b"XREAD")
    await until(lambda: gate.is_holding)
    await redis.hset(CHECKPOINT, "server", "another")
    await redis.delete(LEASE)
    await other.bus.publish([message("a", 1)])
    await redis.config_resetstat()

    async def has_left_it() -> bool:
        return int((await redis.info("commandstats")).get("cmdstat_sismember", {"calls": 0})["calls"]) >= 3

    await until_redis(has_left_it)
    assert not other.is_router
    gate.cut()
    gate.release()
    await until(lambda: router.numbers == other.numbers == [0, 1])
    assert router.is_router
    assert router.missed == other.missed == []


async def test_the_router_looks_now_and_then_which_server_it_is(url: str, redis: Redis, start_gateway: Start) -> None:
    """Behind a proxy, or in a cluster whose slots are moved, it may become another one without a broken connection."""
    gateway = await start_gateway(url)
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
    gateway = await start_gateway(url.replace("://", "://mute:hunter2@", 1))
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])
    await redis.set(LEASE, "thief", px=60_000)
    await until(lambda: not gateway.is_router)
    await redis.hset(CHECKPOINT, mapping={"holder": "dead", "server": "another"})
    await redis.delete(LEASE)
    await gateway.bus.publish([message("a", 2)])
    await until(lambda: gateway.numbers == [1, 2])
    assert gateway.missed == []
    assert caplog.text.count("allow the user of redis_url to run INFO (ACL +info)") == 1


async def test_the_events_of_a_batch_are_appended_to_an_inbox_all_or_none(
    url: str, redis: Redis, gate: Gate, start_gateway: Start
) -> None:
    """Were one refused and a later one not, the gateway would drop the first when it is forwarded again."""
    router = await start_gateway(gate.url, **FOREVER, lease_ms=60_000)
    await until(lambda: router.is_router)
    other = await start_gateway(url, **FOREVER)
    await other.bus.register([room("a")])
    gate.hold_after(b"XREAD")
    await until(lambda: gate.is_holding)
    for number in range(5):
        await redis.xadd(STREAM, {"mutation": "createMessage", "data": f'{{"roomId": "a", "number": {number}}}'})
    await redis.config_resetstat()
    gate.release()
    await until(lambda: other.numbers == list(range(5)))
    assert (await redis.info("commandstats"))["cmdstat_exec"]["calls"] == 1
    assert router.metrics.events_forwarded == 5


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


@pytest.mark.parametrize("refused", ["XADD", "WRONGTYPE", "SADD", "XREAD"])
async def test_a_gateway_that_is_refused_something_is_not_ready_and_says_why(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    rules = ["on", ">hunter2", "~*", "&*", "+@all"]
    await set_user(redis, "some", *rules)
    gateway = await start_gateway(url.replace("://", "://some:hunter2@", 1), **FOREVER)
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


async def test_a_stopped_router_that_lost_its_lease_tells_nobody_of_a_loss(
    url: str, redis: Redis, gate: Gate, start_gateway: Start
) -> None:
    """Its successor has routed what is trimmed by the time it goes on."""
    stopped = await start_gateway(gate.url, **FOREVER)
    await until(lambda: stopped.is_router)
    successor = await start_gateway(url, **FOREVER)
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


async def set_user(redis: Redis, name: str, *rules: str) -> None:
    if isinstance(redis, ClusterClient):
        await redis.acl_setuser(name, *rules)
    else:
        await redis.execute_command("ACL", "SETUSER", name, *rules)


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
    await redis.sadd("fanout:{gateways}", "stopped")
    await redis.set("fanout:{gateway:stopped}:heartbeat", 1)
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
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    await redis.set(LEASE, "thief", px=60_000)
    await until(lambda: not router.is_router)
    event_id, second_id = await router.bus.publish([message("a", 1, key="k"), message("a", 2, key="k")])
    await redis.set("fanout:idempotency:fanout%3Aevents:k", event_id)
    await redis.delete(LEASE)
    await until(lambda: router.metrics.events_routed == 2)
    assert router.ids == [event_id]
    assert second_id != event_id


async def test_a_stream_that_is_no_stream_is_logged_and_tried_again(
    url: str, redis: Redis, start_gateway: Start, caplog: pytest.LogCaptureFixture
) -> None:
    await redis.set(STREAM, "no stream")
    gateway = await start_gateway(url)
    await until(lambda: "cannot route stream fanout:events" in caplog.text)
    await redis.delete(STREAM)
    await gateway.bus.publish([message("a", 1)])
    await until(lambda: gateway.numbers == [1])


async def test_gateways_without_an_inbox_are_taken_out_of_the_buckets(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("a")])
    await redis.sadd("fanout:bucket:onCreateMessage:roomId:sa", "ghost")
    await router.bus.publish([message("a", 1)])
    await until(lambda: router.metrics.events_routed == 1)
    assert await redis.smembers("fanout:bucket:onCreateMessage:roomId:sa") == {other.bus.gateway_id}
    assert not await redis.exists("fanout:{gateway:ghost}:inbox")


async def test_a_failing_delivery_does_not_hold_up_the_other_gateways(url: str, start_gateway: Start) -> None:
    router = await start_gateway(url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("a")])

    def fail(events: list[Event]) -> None:
        if events[0].data["number"] == 3:
            raise ZeroDivisionError

    router.delivering = fail
    for number in range(6):
        await other.bus.publish([message("a", number)])
        await until(lambda number=number: other.numbers[-1:] == [number])
    await until(lambda: router.numbers[-1] == 5)
    assert router.numbers == [0, 1, 2, 4, 5]
    assert other.numbers == list(range(6))
    assert router.missed == ["internal-error"]
    assert other.missed == []


async def _count_scripts(redis: Redis) -> int:
    return int((await redis.info("commandstats"))["cmdstat_eval"]["calls"])


async def _is_noted(redis: Redis, gateway: Gateway) -> bool:
    return bool(await redis.hget(CHECKPOINT, "holder") == gateway.bus.gateway_id)
