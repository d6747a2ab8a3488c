"""Clocks that jump: a gateway's, a publisher's, Redis'. Order, leases and timeouts do not depend on the time of day."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from tests.faults.deployment import read_metric
from tests.faults.oracle import STREAM
from tests.faults.scene import WANTS, set_scene
from tests.served import wait_until_async

pytestmark = pytest.mark.faults

DAY_SECONDS = 86_400


async def test_the_clock_of_a_gateway_jumps(tmp_path: Path) -> None:
    shift = tmp_path / "shift"
    program = ("tests.faults.shifted_clock", str(shift))
    settings = {"FANOUT_PING_AFTER_SILENCE_MS": "60000", "FANOUT_HEARTBEAT_TIMEOUT_MS": "6000"}
    async with set_scene(0, **settings) as scene:
        jumping = await scene.deployment.start_gateway(program=program)
        assert await scene.deployment.find_router() is jumping
        other = await scene.deployment.start_gateway()
        await scene.crowd.join(WANTS, 3)
        async with scene.under_load():
            for seconds in (2 * DAY_SECONDS, -2 * DAY_SECONDS, 0):
                shift.write_text(str(seconds))
                await scene.wait_accepted(100)
                await asyncio.to_thread(_check_its_clock, jumping.url, seconds)
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        # No timeout ran out, no lease moved, nobody was written off, and no latency is below zero.
        assert scene.books.count_endings() == {}
        assert await scene.deployment.find_router() is jumping
        assert not any("silent" in line or "lease" in line for line in (*jumping.log, *other.log))
        for gateway in (jumping, other):
            assert await read_metric(gateway, "fanout_publish_to_write_seconds_sum") >= 0


def _check_its_clock(url: str, seconds: int) -> None:
    """The shift is in force: it shows in the time that the gateway writes into a message."""
    query = 'mutation { createRoom(input: {name: "anything"}) { id createdAt } }'
    answer = httpx.post(f"{url}/graphql", headers={"x-api-key": "da2-test-api-key"}, json={"query": query}).json()
    created_at = answer["data"]["createRoom"]["createdAt"]
    expected = time.strftime("%Y-%m-%d", time.gmtime(time.time() + seconds))
    assert created_at.startswith(expected), (created_at, expected)


async def test_a_publisher_whose_clock_is_ahead_chooses_ids_and_then_redis_does() -> None:
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 2)
        await scene.publisher.publish(50)
        ahead_ms = int((time.time() + DAY_SECONDS) * 1000)
        await scene.publisher.publish(50, first_id_ms=ahead_ms)
        await scene.publisher.publish(50)  # Redis' clock is behind the stream now: it counts on from the last id
        assert scene.deployment.valkey.client.xrevrange(STREAM, count=1)[0][0] == f"{ahead_ms + 49}-50"
        # The next router has to believe those ids, too.
        await scene.deployment.kill(await scene.deployment.find_router())
        await scene.publisher.publish(50)
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        (left,) = scene.deployment.gateways
        assert await read_metric(left, "fanout_publish_to_write_seconds_sum") >= 0
        # Also for who connects now.
        await scene.crowd.join(WANTS)
        await scene.publisher.publish(50)


async def test_the_clock_of_redis_jumps_back_while_the_router_is_dead() -> None:
    """Redis keeps the moment when a key expires, so by its new clock a lease may last for a day."""
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 2)
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        router = await scene.deployment.find_router()
        scene.deployment.stop(router)
        redis = scene.deployment.valkey.client
        (lease,) = redis.keys("*:lease")
        assert redis.pexpire(lease, DAY_SECONDS * 1000)
        await scene.deployment.kill(router)
        await scene.deployment.find_router()
        await scene.publisher.publish(50)


async def test_the_clock_of_redis_jumps_ahead() -> None:
    """Everything that expires does so at once: leases, heartbeats, idempotency keys."""
    async with set_scene(2, FANOUT_HEARTBEAT_TIMEOUT_MS="6000") as scene:
        await scene.crowd.join(WANTS, 2)
        async with scene.under_load():
            redis = scene.deployment.valkey.client
            for _ in range(3):
                await scene.wait_accepted(100)
                await wait_until_async(lambda: len(redis.keys("*:heartbeat")) == 2 and redis.keys("*:lease"))
                expiring = [key for key in redis.scan_iter(count=1000) if redis.pttl(key) > 0]
                assert any(key.endswith("lease") for key in expiring)
                redis.delete(*expiring)
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up()
        await scene.deployment.find_router()
        # A gateway that is late with its next heartbeat, just then, may be taken for dead: its clients are told.
        assert scene.books.count_endings().keys() <= {"4605"}
