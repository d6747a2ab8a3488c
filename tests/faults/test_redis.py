"""Redis that dies, comes back, hangs or fails over: what it still has arrives, and of the rest clients are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from tests.faults.deployment import SOON_WRITTEN_OFF, read_metric, wait_until_true
from tests.faults.oracle import STREAM
from tests.faults.proxy import Proxy
from tests.faults.scene import WANTS, Scene, set_scene
from tests.served import Served, wait_until_async
from tests.valkey import Valkey, run_valkey

pytestmark = pytest.mark.faults

LEASE = f"fanout:{{{STREAM}}}:lease"


@asynccontextmanager
async def set_scene_with_proxy(**environment: str) -> AsyncIterator[tuple[Scene, Proxy, Served]]:
    """Two gateways, of which the second reaches Redis through a proxy of its own."""
    async with set_scene(1, **environment) as scene, Proxy(scene.deployment.valkey.port).running() as proxy:
        apart = await scene.deployment.start_gateway(environment={"FANOUT_REDIS_URL": proxy.url})
        await scene.crowd.join(WANTS, 4)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        yield scene, proxy, apart
        proxy.flow()
        proxy.accept()
        await scene.crowd.wait_caught_up()


async def make_router(scene: Scene, gateway: Served) -> None:
    """Have a gateway take the lease, by stopping the others for as long as that takes."""
    others = [other for other in scene.deployment.gateways if other is not gateway]
    for other in others:
        scene.deployment.stop(other)
    assert await scene.deployment.find_router() is gateway
    for other in others:
        scene.deployment.go_on(other)


async def test_redis_is_killed_and_restarted_with_its_data() -> None:
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 4)
        async with scene.under_load():
            for _ in range(2):
                await scene.wait_accepted(100)
                await asyncio.to_thread(scene.deployment.valkey.kill)
                await wait_until_true(lambda: _all_lack_redis(scene))
                await asyncio.to_thread(scene.deployment.valkey.start)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def test_redis_is_killed_and_restarted_without_its_data() -> None:
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 4)
        async with scene.under_load():
            await scene.wait_accepted(100)
            await asyncio.to_thread(scene.deployment.valkey.kill)
            await asyncio.to_thread(scene.deployment.valkey.wipe)
            await asyncio.to_thread(scene.deployment.valkey.start)
            await wait_until_async(lambda: scene.books.count_endings()["4605"] >= len(scene.crowd.subscribers))
            await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()


async def test_the_connection_of_one_gateway_is_cut() -> None:
    async with set_scene_with_proxy() as (scene, proxy, apart):
        async with scene.under_load():
            for is_router in (False, True):
                if is_router:
                    await make_router(scene, apart)
                for cut in (proxy.cut, proxy.refuse):
                    cut()
                    await scene.wait_accepted(100)
                    proxy.accept()
                    await wait_until_true(lambda: _is_ready(apart))
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


@pytest.mark.parametrize("is_router", [False, True], ids=["other", "router"])
async def test_the_connection_of_one_gateway_is_stalled(is_router: bool) -> None:
    async with set_scene_with_proxy() as (scene, proxy, apart):
        if is_router:
            await make_router(scene, apart)
        near = [one for one in scene.crowd.subscribers if one.port != apart.port]
        async with scene.under_load():
            proxy.stall()
            # The other one takes the lease, if it has to, and goes on.
            accepted = scene.books.accepted
            await wait_until_async(lambda: scene.books.accepted > accepted + 200)
            await wait_until_async(lambda: all(one.life and one.life.last > accepted for one in near))
            # Until it has noticed: its commands are given up after 5 seconds.
            await wait_until_true(lambda: _lacks_redis(apart))
            proxy.flow()
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def test_one_gateway_is_cut_off_for_so_long_that_it_is_written_off() -> None:
    async with set_scene_with_proxy(**SOON_WRITTEN_OFF) as (scene, proxy, apart):
        near = next(gateway for gateway in scene.deployment.gateways if gateway is not apart)
        async with scene.under_load():
            proxy.refuse()
            await wait_until_async(lambda: any("silent for too long" in line for line in near.log))
            proxy.accept()
            told = len(scene.crowd.subscribers) // 2
            await wait_until_async(lambda: scene.books.count_endings()["4605"] >= told)
            await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()


@asynccontextmanager
async def set_scene_with_replica(**environment: str) -> AsyncIterator[tuple[Scene, Proxy, Valkey]]:
    """Two gateways that reach a primary by an address that will be the replica's."""
    async with set_scene(0, **environment) as scene, Proxy(scene.deployment.valkey.port).running() as address:
        primary = scene.deployment.valkey
        with run_valkey("--replicaof", "127.0.0.1", str(primary.port)) as replica:
            await wait_until_async(lambda: replica.client.info("replication")["master_link_status"] == "up")
            for _ in range(2):
                await scene.deployment.start_gateway(environment={"FANOUT_REDIS_URL": address.url})
            await scene.publisher.move(address.url)
            await scene.crowd.join(WANTS, 4)
            await scene.publisher.publish(200)
            await scene.crowd.wait_caught_up()
            yield scene, address, replica
            await scene.crowd.wait_caught_up()
            scene.reconcile()


async def fail_over(scene: Scene, address: Proxy, replica: Valkey) -> None:
    """Kill the primary, make the replica one, and move the address to it."""
    address.refuse()
    await asyncio.to_thread(scene.deployment.valkey.kill)
    replica.client.replicaof("NO", "ONE")
    address.target_port = replica.port
    address.accept()


async def test_a_primary_fails_over_to_its_replica() -> None:
    async with set_scene_with_replica() as (scene, address, replica):
        async with scene.under_load():
            await scene.wait_accepted(100)
        # Replication is asynchronous; here it has everything when the primary goes.
        await scene.crowd.wait_caught_up()
        assert scene.deployment.valkey.client.wait(1, 10_000) == 1
        await fail_over(scene, address, replica)
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def test_a_replica_that_lacks_the_last_events_takes_over() -> None:
    """Redis replicates after it has answered: what a router has seen may be missing on the new primary."""
    async with set_scene_with_replica() as (scene, address, replica):
        other = await scene.deployment.find_other()
        assert scene.deployment.valkey.client.wait(1, 10_000) == 1
        replica.client.replicaof("NO", "ONE")
        scene.deployment.stop(other)
        await scene.publisher.publish(50)
        near = [one for one in scene.crowd.subscribers if one.port != other.port]
        await scene.crowd.wait_caught_up(near)
        subscribed = len(scene.crowd.subscribers)
        await fail_over(scene, address, replica)
        scene.deployment.go_on(other)
        await scene.publisher.publish(200)  # more than was lost, before anybody can have looked
        await wait_until_async(lambda: scene.books.count_endings()["4605"] >= subscribed)
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)


async def test_the_lease_moves_in_a_failover_that_lost_events() -> None:
    """The checkpoint on the replica fits to its stream; that there was more is known to the router alone."""
    async with set_scene_with_replica() as (scene, address, replica):
        router = await scene.deployment.find_router()
        other = await scene.deployment.find_other()
        assert scene.deployment.valkey.client.wait(1, 10_000) == 1
        replica.client.replicaof("NO", "ONE")
        scene.deployment.stop(other)
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up([one for one in scene.crowd.subscribers if one.port != other.port])
        subscribed = len(scene.crowd.subscribers)
        scene.deployment.stop(router)
        replica.client.delete(LEASE)
        await fail_over(scene, address, replica)
        scene.deployment.go_on(other)
        await scene.publisher.publish(200)
        await wait_until_true(lambda: _has_had_its_turn(other, replica))
        scene.deployment.go_on(router)
        await wait_until_async(lambda: scene.books.count_endings()["4605"] >= subscribed)
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)


async def test_the_router_dies_in_a_failover_that_lost_events() -> None:
    """Its clients have seen what is gone, those of the other gateway have not: nobody is left who could tell."""
    async with set_scene_with_replica(**SOON_WRITTEN_OFF) as (scene, address, replica):
        router = await scene.deployment.find_router()
        other = await scene.deployment.find_other()
        assert scene.deployment.valkey.client.wait(1, 10_000) == 1
        replica.client.replicaof("NO", "ONE")
        scene.deployment.stop(other)
        far = [one for one in scene.crowd.subscribers if one.port == other.port]
        await scene.publisher.publish(50)
        await scene.crowd.wait_caught_up([one for one in scene.crowd.subscribers if one.port != other.port])
        await asyncio.gather(scene.deployment.kill(router), fail_over(scene, address, replica))
        scene.deployment.go_on(other)
        await scene.publisher.publish(200)
        await wait_until_async(lambda: scene.books.count_endings()["4605"] >= len(far))
        await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers))
        await scene.publisher.publish(100)


async def test_the_router_is_stopped_while_redis_is_restarted_and_nobody_is_told() -> None:
    """Whoever has the lease next waits for all to say what they had taken."""
    async with set_scene(2) as scene:
        await scene.crowd.join(WANTS, 4)
        router = await scene.deployment.find_router()
        await scene.publisher.publish(100)
        await scene.crowd.wait_caught_up()
        scene.deployment.stop(router)
        await asyncio.to_thread(scene.deployment.valkey.kill)
        await asyncio.to_thread(scene.deployment.valkey.start)
        scene.deployment.valkey.client.delete(LEASE)
        other = next(gateway for gateway in scene.deployment.gateways if gateway is not router)
        await scene.publisher.publish(100)
        await wait_until_true(lambda: _has_had_its_turn(other, scene.deployment.valkey))
        scene.deployment.go_on(router)
        await scene.crowd.wait_caught_up()
        assert scene.books.count_endings() == {}


async def _has_had_its_turn(gateway: Served, server: Valkey) -> bool:
    """Whether a gateway waits for what the others have taken, or routes."""
    asked = await asyncio.to_thread(server.client.info, "commandstats")
    return "cmdstat_hsetnx" in asked or bool(await read_metric(gateway, "fanout_routed_streams"))


async def _lacks_redis(gateway: Served) -> bool:
    return await asyncio.to_thread(_read_readiness, gateway) == 503


async def _is_ready(gateway: Served) -> bool:
    return await asyncio.to_thread(_read_readiness, gateway) == 200


async def _all_lack_redis(scene: Scene) -> bool:
    return all([await _lacks_redis(gateway) for gateway in scene.deployment.gateways])


def _read_readiness(gateway: Served) -> int:
    return httpx.get(f"{gateway.url}/readyz").status_code
