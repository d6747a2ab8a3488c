"""Gateways that are killed, stopped and replaced: whoever stays connected misses nothing, whoever does not knows."""

from __future__ import annotations

import pytest

from tests.faults.deployment import SOON_WRITTEN_OFF, read_metric, wait_until_true
from tests.faults.oracle import STREAM
from tests.faults.scene import WANTS, set_scene
from tests.served import wait_until_async

pytestmark = pytest.mark.faults


async def test_a_gateway_is_killed_and_replaced() -> None:
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 4)
        await scene.publisher.publish(200)
        await scene.crowd.wait_caught_up()
        victim = await scene.deployment.find_other()
        orphans = [one for one in scene.crowd.subscribers if one.port == victim.port]
        async with scene.under_load():
            await scene.deployment.kill(victim)
            replacement = await scene.deployment.start_gateway()
            await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
            await scene.crowd.join(WANTS, 2)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert await read_metric(replacement, "fanout_deliveries_total") > 0
        # Only who was on it noticed, by a connection that was lost.
        assert scene.books.count_endings() == {"lost": len(orphans)}


@pytest.mark.parametrize("streams", [(STREAM,), (STREAM, "second", "third")], ids=["one-stream", "three-streams"])
async def test_the_router_is_killed(streams: tuple[str, ...]) -> None:
    async with set_scene(3, streams=streams) as scene:
        await scene.crowd.join(WANTS, 6)
        async with scene.under_load():
            await scene.wait_accepted(100)
            for _ in range(2):  # the one that takes over, too
                await scene.deployment.kill(await scene.deployment.find_router())
                await scene.deployment.find_router()
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings().keys() == {"lost"}


async def test_the_router_is_stopped_and_goes_on_when_another_has_taken_over() -> None:
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 4)
        async with scene.under_load():
            for _ in range(2):
                await scene.wait_accepted(100)
                router = await scene.deployment.find_router()
                scene.deployment.stop(router)
                assert await scene.deployment.find_router() is not router
                await scene.wait_accepted(100)
                scene.deployment.go_on(router)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}  # nobody noticed


async def test_gateways_are_drained_one_after_the_other_under_load() -> None:
    async with set_scene(2, FANOUT_DRAIN_PER_SECOND="100") as scene:
        await scene.crowd.join(WANTS, 5)
        async with scene.under_load():
            for _ in range(2):
                await scene.wait_accepted(100)
                leaving = scene.deployment.gateways[0]
                await scene.deployment.start_gateway()
                assert await scene.deployment.terminate(leaving) == 0
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        # Every end was told with its reason.
        assert scene.books.count_endings().keys() == {"1012"}


async def test_a_gateway_is_stopped_for_so_long_that_it_is_written_off() -> None:
    async with set_scene(2, **SOON_WRITTEN_OFF) as scene:
        await scene.crowd.join(WANTS, 4)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        router = await scene.deployment.find_router()
        victim = await scene.deployment.find_other()
        scene.deployment.stop(victim)
        await wait_until_async(lambda: any("silent for too long" in line for line in router.log))
        await scene.publisher.publish(100)
        scene.deployment.go_on(victim)
        # All of its clients are told; they come back, to either gateway.
        told = len(scene.crowd.subscribers) // 2
        await wait_until_async(lambda: scene.books.count_endings()["4605"] >= told)
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        reasons = {detail for one in scene.crowd.subscribers for code, detail in one.endings if code == "4605"}
        assert reasons == {"events may have been missed, connect again and reload (membership-lost)"}


async def test_a_burst_while_a_gateway_is_stopped_waits_in_its_inbox() -> None:
    async with set_scene(2, has_keys=False, FANOUT_INBOX_MAX_LENGTH="200000") as scene:
        await scene.crowd.join(WANTS)
        victim = await scene.deployment.find_other()
        router = await scene.deployment.find_router()
        scene.deployment.stop(victim)
        await scene.publisher.publish(100_000, at_once=1000)
        await wait_until_true(lambda: _has_routed(router, 100_000))
        scene.deployment.go_on(victim)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def test_a_burst_that_does_not_fit_into_the_inbox_is_told() -> None:
    async with set_scene(2, has_keys=False, FANOUT_INBOX_MAX_LENGTH="1000") as scene:
        await scene.crowd.join(WANTS, 2)
        victim = await scene.deployment.find_other()
        router = await scene.deployment.find_router()
        told = sum(one.port == victim.port for one in scene.crowd.subscribers)
        scene.deployment.stop(victim)
        await scene.publisher.publish(10_000, at_once=1000)
        await wait_until_true(lambda: _has_routed(router, 10_000))
        scene.deployment.go_on(victim)
        await wait_until_async(lambda: scene.books.count_endings()["4605"] == told)
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        reasons = {detail for one in scene.crowd.subscribers for code, detail in one.endings if code == "4605"}
        assert reasons == {"events may have been missed, connect again and reload (inbox-trimmed)"}


async def _has_routed(gateway: object, count: int) -> bool:
    return await read_metric(gateway, "fanout_events_routed_total") >= count  # type: ignore[arg-type]
