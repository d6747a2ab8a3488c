"""Whoever resumes after its last position loses nothing at all, whatever breaks; or is told that the past is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.deployment import SOON_WRITTEN_OFF, read_metric, wait_until_true
from tests.faults.oracle import STREAM, Want
from tests.faults.scene import WANTS, Scene, set_scene
from tests.faults.test_clients import PADDING, raise_descriptor_limit
from tests.served import Served, wait_until_async

pytestmark = pytest.mark.faults


@asynccontextmanager
async def set_resuming_scene(
    gateways: int, count: int = 4, *, streams: tuple[str, ...] = (STREAM,), has_keys: bool = True, **environment: str
) -> AsyncIterator[Scene]:
    """All subscribers resume, and have their first position."""
    async with set_scene(gateways, streams=streams, has_keys=has_keys, **environment) as scene:
        await scene.crowd.join(WANTS, count, is_resuming=True)
        await scene.publisher.publish(60)
        await scene.crowd.wait_caught_up()
        yield scene
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()


@pytest.mark.parametrize("streams", [(STREAM,), (STREAM, "second")], ids=["one-stream", "two-streams"])
async def test_gateways_are_killed_and_whoever_resumes_loses_nothing(streams: tuple[str, ...]) -> None:
    async with set_resuming_scene(3, streams=streams) as scene:
        async with scene.under_load():
            for _ in range(2):
                await scene.wait_accepted(100)
                await scene.deployment.kill(await scene.deployment.find_router())
                await scene.deployment.start_gateway()
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}, "a life goes on where it is resumed"
        assert sum(len(one.endings) for one in scene.crowd.subscribers) > 0


async def test_a_rolling_restart_of_three_gateways_under_load_loses_nothing_for_who_resumes() -> None:
    async with set_resuming_scene(3, FANOUT_DRAIN_PER_SECOND="100") as scene:
        async with scene.under_load():
            for leaving in tuple(scene.deployment.gateways):
                await scene.wait_accepted(100)
                await scene.deployment.start_gateway()
                assert await scene.deployment.terminate(leaving) == 0
        await scene.crowd.wait_caught_up()
        assert {code for one in scene.crowd.subscribers for code, _ in one.endings} == {"1012"}
        assert scene.books.count_endings() == {}


async def test_clients_and_redis_break_together_and_whoever_resumes_loses_nothing() -> None:
    async with set_resuming_scene(2) as scene:
        async with scene.under_load():
            for _ in range(2):
                await scene.wait_accepted(100)
                await asyncio.to_thread(scene.deployment.valkey.kill)
                for one in scene.crowd.subscribers:
                    one.cut()
                await asyncio.to_thread(scene.deployment.valkey.start)
                await scene.crowd.wait_caught_up()
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def test_whoever_is_told_that_events_were_missed_resumes_and_has_them() -> None:
    async with set_resuming_scene(2, has_keys=False, FANOUT_INBOX_MAX_LENGTH="1000", **SOON_WRITTEN_OFF) as scene:
        victim = await scene.deployment.find_other()
        (router,) = [gateway for gateway in scene.deployment.gateways if gateway is not victim]
        for is_written_off in (False, True):
            told = [one for one in scene.crowd.subscribers if one.port == victim.port]
            before = {one.name: len(one.endings) for one in told}
            scene.deployment.stop(victim)
            routed = scene.books.accepted + 5_000
            await scene.publisher.publish(5_000, at_once=500)
            await wait_until_true(lambda routed=routed: _has_routed(router, routed))
            if is_written_off:
                await wait_until_async(lambda: any("silent for too long" in line for line in router.log))
            scene.deployment.go_on(victim)
            await wait_until_async(
                lambda told=told, before=before: all(len(one.endings) > before[one.name] for one in told)
            )
            await scene.crowd.wait_caught_up()
        assert {code for one in scene.crowd.subscribers for code, _ in one.endings} == {"4605"}
        assert scene.books.count_endings() == {}


async def test_slow_readers_that_were_closed_resume_and_have_everything() -> None:
    async with set_resuming_scene(2, 1, FANOUT_MAX_OUTGOING_BYTES="65536") as scene:
        slow = await scene.crowd.join([Want()], 4, is_narrow=True, is_resuming=True)
        others = scene.crowd.subscribers[:-4]
        await scene.publisher.publish(20, padding=PADDING)
        await scene.crowd.wait_caught_up()
        for one in slow:
            one.stop_reading()
        while sum([await read_metric(one, "fanout_drops_total") for one in scene.deployment.gateways]) < len(slow):
            await scene.publisher.publish(200)
        await scene.crowd.wait_caught_up(others)
        for one in slow:
            one.go_on_reading()
        await wait_until_async(lambda: all(("4603" in dict(one.endings)) for one in slow))
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def test_whoever_resumes_where_the_data_is_gone_is_told() -> None:
    async with set_resuming_scene(2) as scene:
        await asyncio.to_thread(scene.deployment.valkey.kill)
        await asyncio.to_thread(scene.deployment.valkey.wipe)
        await asyncio.to_thread(scene.deployment.valkey.start)
        subscribed = len(scene.crowd.subscribers)
        await wait_until_async(lambda: scene.books.count_endings() == {"PositionExpired": subscribed})


async def test_thousands_resume_at_once() -> None:
    count = 1_500
    raise_descriptor_limit(2 * count)
    async with set_scene(2) as scene:
        await scene.crowd.join([Want(room="abcd"[number % 4]) for number in range(count)], is_resuming=True)
        await scene.publisher.publish(8)
        await scene.crowd.wait_caught_up()
        victim = await scene.deployment.find_router()
        (survivor,) = [gateway for gateway in scene.deployment.gateways if gateway is not victim]
        async with scene.under_load(at_once=4, pause_seconds=0.2):
            await scene.deployment.kill(victim)
            await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers), 60)
        await scene.publisher.publish(8)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}
        assert await read_metric(survivor, "fanout_subscriptions") == count


async def _has_routed(gateway: Served, count: int) -> bool:
    return await read_metric(gateway, "fanout_events_routed_total") >= count
