"""Routing, and everything that can happen to a router in the middle of it. Against a real server.

What a stream loses is in `test_router_losses.py`, what comes in entries in `test_router_entries.py`.
"""

from __future__ import annotations

import asyncio
import random
import signal

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
from fanout.metrics import Metrics
from fanout.model import Event
from tests.fanout.bus.harness import (
    CHECKPOINT,
    LEASE,
    ROUTES,
    SHORT_HEARTBEAT,
    SHORT_LEASE,
    STREAM,
    Gate,
    Gateway,
    GatewayProcess,
    Start,
    build_entry,
    message,
    pretend_member,
    publish_numbers,
    room,
    until,
    until_redis,
)


async def test_there_is_one_router_and_the_next_takes_over_when_it_is_gone(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateways = [await start_gateway(url, **SHORT_LEASE) for _ in range(3)]
    await until(lambda: any(gateway.is_router for gateway in gateways))
    for _ in range(5):
        (router,) = [gateway for gateway in gateways if gateway.is_router]
        await redis.set(LEASE, "thief", px=60_000)
        await until(lambda router=router: not router.is_router)
        await redis.delete(LEASE)
        await until(lambda: any(gateway.is_router for gateway in gateways))
        assert sum(gateway.is_router for gateway in gateways) == 1


async def test_a_stolen_lease_ends_routing_without_moving_the_checkpoint(
    url: str, redis: Redis, start_gateway: Start
) -> None:
    gateway = await start_gateway(url)
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
    stopped = await start_gateway(gate.url, read_batch_size=8, **SHORT_LEASE)
    await until(lambda: stopped.is_router)
    successor = await start_gateway(url)
    third = await start_gateway(url)
    late = await start_gateway(url)
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
    stopped = await start_gateway(gate.url, **SHORT_LEASE, **SHORT_HEARTBEAT)
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
        successor = await start_gateway(url)
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
    gateways = [await start_gateway(url, read_batch_size=16, lease_ms=30) for _ in range(3)]
    for gateway in gateways:
        await gateway.bus.register([room("a")])
    routers = set()
    for number in range(600):
        await redis.xadd(STREAM, build_entry("a", number))
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
    first = await start_gateway(url)
    await until(lambda: first.is_router)
    await first.bus.stop()
    await pretend_member(redis, "stopped")
    await redis.xadd("fanout:{gateway:stopped}:inbox", {"note": "hello"})
    await redis.sadd("fanout:{paths}", "stopped|onCreateMessage|roomId")
    await redis.sadd("fanout:bucket:onCreateMessage:roomId:sa", "stopped")
    await redis.xadd(STREAM, build_entry("a", 1))
    second = await start_gateway(url)
    await until(lambda: second.metrics.events_forwarded == 1)
    assert await redis.xlen("fanout:{gateway:stopped}:inbox") == 2
    assert second.events == []


async def test_the_events_of_a_batch_are_appended_to_an_inbox_all_or_none(
    url: str, redis: Redis, gate: Gate, start_gateway: Start
) -> None:
    """Were one refused and a later one not, the gateway would drop the first when it is forwarded again."""
    router = await start_gateway(gate.url)
    await until(lambda: router.is_router)
    other = await start_gateway(url)
    await other.bus.register([room("a")])
    gate.hold_after(b"XREAD")
    await until(lambda: gate.is_holding)
    for number in range(5):
        await redis.xadd(STREAM, build_entry("a", number))
    await redis.config_resetstat()
    gate.release()
    await until(lambda: other.numbers == list(range(5)))
    assert (await redis.info("commandstats"))["cmdstat_exec"]["calls"] == 1
    assert router.metrics.events_forwarded == 5


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
