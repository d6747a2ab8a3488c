"""Random faults from a seed: which faults follow each other depends on the seed alone, so a run can be played again.

A round injects one or two faults at once under load, ends them, waits until everybody is caught up, and reconciles.
Knows what can be broken, not what should come of it: that is the oracle's.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis
from redis.crc import key_slot

from loadtest.measure import read_resident_bytes
from tests.faults.clients import Dialect, Subscriber
from tests.faults.oracle import STREAM, describe
from tests.faults.proxy import Proxy
from tests.faults.scene import WANTS, Scene, set_scene
from tests.served import Served, wait_until_async
from tests.valkey import Valkey, run_valkey

_LONGEST_FAULT_SECONDS = 2.0
_EVENTS_AFTER_A_FAULT = 40
# Longer than a fault lasts, so that few are written off because of it, and no end of a run has to wait for long.
_SETTINGS = {"FANOUT_HEARTBEAT_TIMEOUT_MS": "5000"}
_OF_STREAM = f"fanout:{{{STREAM}}}"
# Nobody is to be told anything if a round has only these.
_LOSING_NOTHING = {"fail_over_in_time", "move_slots", "take_the_lease_away", "publish_a_burst"}


@dataclass(frozen=True, slots=True)
class Round:
    """What one round did, for people.

    Args:
        number: from 1.
        faults: what was broken.
        events: published so far.
        receipts: so far.
        endings: how subscriptions have ended so far, with how many did so.
        largest_bytes: resident memory of the largest gateway.
    """

    number: int
    faults: tuple[str, ...]
    events: int
    receipts: int
    endings: dict[str, int]
    largest_bytes: int


class Chaos:
    """Breaks a deployment at random, round after round.

    Args:
        scene: without gateways yet.
        seed: decides about everything but time.
        stack: what is started is ended with it.
    """

    def __init__(self, scene: Scene, seed: int, stack: AsyncExitStack) -> None:
        self._scene = scene
        self._random = random.Random(seed)
        self._stack = stack
        self._proxies: dict[int, Proxy] = {}
        # Of gateways that live or lived, and the publisher's: all lead to the server that is primary now.
        self._addresses: list[Proxy] = []
        self._rounds = 0
        # Two faults of one round may both restart Redis: one after the other.
        self._redis_turn = asyncio.Lock()
        # A fault's weight, name, and how to inject and end it.
        self._faults: list[tuple[int, Callable[[random.Random], Coroutine[Any, Any, None]]]] = [
            (4, self.kill_a_gateway),
            (2, self.terminate_a_gateway),
            (4, self.stop_a_gateway),
            (3, self.cut_a_gateway_off),
            (3, self.cut_connections_to_redis),
            (3, self.stall_a_gateways_redis),
            (3, self.restart_redis),
            (1, self.lose_all_data),
            (3, self.take_the_lease_away),
            (3, self.cut_clients),
            (3, self.exchange_clients),
            (2, self.publish_a_burst),
            (2, self.pause_readers),
        ]
        if scene.deployment.cluster is None:
            self._faults += [(3, self.fail_over_in_time), (3, self.fail_over_behind)]
        else:
            # Gateways find the servers of a cluster themselves, so there is no address to break.
            left = (self.cut_a_gateway_off, self.cut_connections_to_redis, self.stall_a_gateways_redis)
            left = (*left, self.restart_redis, self.lose_all_data)
            self._faults = [(weight, fault) for weight, fault in self._faults if fault not in left]
            self._faults += [(8, self.move_slots), (4, self.restart_a_primary)]

    async def start(self, gateways: int, subscribers_per_want: int) -> None:
        """Start gateways, each with a proxy of its own before a single Redis, and the crowd."""
        if self._scene.deployment.cluster is None:
            await self._scene.publisher.move((await self._open_address()).url)
        for _ in range(gateways):
            await self._start_gateway()
        await self._scene.crowd.join(WANTS, subscribers_per_want)
        await self._scene.crowd.join(WANTS, subscribers_per_want, is_resuming=True)
        await self._scene.crowd.join(WANTS[-2:], 1, dialect=Dialect.TRANSPORT_WS)
        await self._scene.crowd.join(WANTS[-2:], 1, dialect=Dialect.TRANSPORT_WS, is_resuming=True)

    async def play_round(self) -> Round:
        """Break something, mend it, wait until all are caught up, and reconcile.

        Raises:
            AssertionError: somebody missed something, or did not catch up; the text says who.
        """
        scene = self._scene
        self._rounds += 1
        weights, faults = zip(*self._faults, strict=True)
        drawn = dict.fromkeys(self._random.choices(faults, weights, k=self._random.choice((1, 1, 2))))
        # Each has a sequence of its own: what it draws does not depend on when the other one draws.
        draws = [random.Random(self._random.random()) for _ in drawn]
        names = tuple(fault.__name__ for fault in drawn)
        if set(names) <= _LOSING_NOTHING:
            await self._wait_written_off()
        told = scene.books.count_endings()["4605"]
        publishing = asyncio.create_task(scene.publisher.publish_until_stopped())
        try:
            await asyncio.gather(*(fault(draw) for fault, draw in zip(drawn, draws, strict=True)))
            await wait_until_async(lambda: all(one.is_live for one in scene.crowd.subscribers), 60)
            scene.publisher.stop()
            await publishing
            for _ in range(2):  # the first may be published before a gateway notices, and its clients be told then
                await scene.publisher.publish(_EVENTS_AFTER_A_FAULT)
                await scene.crowd.wait_caught_up()
            scene.reconcile()
            findings = scene.books.forget_ended()
            assert not findings, describe(findings)
            if set(names) <= _LOSING_NOTHING:
                assert scene.books.count_endings()["4605"] == told, "told of a loss, and there was none"
        except AssertionError as error:
            raise AssertionError(f"round {self._rounds} ({' + '.join(names)}): {error}") from error
        finally:
            publishing.cancel()
        sizes = [read_resident_bytes(gateway.process.pid) for gateway in scene.deployment.gateways]
        endings = dict(sorted(scene.books.count_endings().items()))
        return Round(self._rounds, names, len(scene.books.events), scene.books.receipts, endings, max(sizes))

    async def _wait_written_off(self) -> None:
        """Wait until gateways that died in a round before are no members any more.

        In a failover they would be waited for in vain, and everybody be told, since they could have known of a loss.
        """
        deployment = self._scene.deployment
        client = deployment.open_client()
        await wait_until_async(lambda: client.scard("fanout:{gateways}") == len(deployment.gateways), 60)
        client.close()

    async def list_what_is_left(self) -> list[str]:
        """End all clients and gateways, and list the keys in Redis that should have gone with them.

        Of those that were killed the others have to clean up, so this takes as long as a heartbeat lasts.
        """
        scene, deployment = self._scene, self._scene.deployment
        client = deployment.open_client()
        await scene.crowd.leave()
        scene.crowd.subscribers.clear()
        await self._wait_written_off()
        for gateway in tuple(deployment.gateways):
            await deployment.terminate(gateway)
        kept = ("fanout:idempotency:", f"fanout:{{{STREAM}}}:", STREAM)
        left = [key for key in client.scan_iter() if not key.startswith(kept) and not key.endswith(":version")]
        client.close()
        return left

    # Faults: each ends what it has begun

    async def kill_a_gateway(self, draw: random.Random) -> None:
        gateway = self._choose_gateway(draw)
        await self._scene.deployment.kill(gateway)
        await self._start_gateway()

    async def terminate_a_gateway(self, draw: random.Random) -> None:
        gateway = self._choose_gateway(draw)
        await self._start_gateway()
        if gateway.process.poll() is None and gateway in self._scene.deployment.gateways:
            await self._scene.deployment.terminate(gateway)

    async def stop_a_gateway(self, draw: random.Random) -> None:
        gateway = self._choose_gateway(draw)
        self._scene.deployment.stop(gateway)
        await self._last(draw)
        if gateway.process.poll() is None:
            self._scene.deployment.go_on(gateway)

    async def cut_a_gateway_off(self, draw: random.Random) -> None:
        proxy = self._choose_proxy(draw)
        proxy.refuse()
        await self._last(draw)
        proxy.accept()

    async def cut_connections_to_redis(self, draw: random.Random) -> None:
        for _ in range(draw.randint(1, 5)):
            self._choose_proxy(draw).cut()
            await asyncio.sleep(draw.uniform(0, 0.1))

    async def stall_a_gateways_redis(self, draw: random.Random) -> None:
        proxy = self._choose_proxy(draw)
        proxy.stall()
        await self._last(draw)
        proxy.flow()

    async def restart_redis(self, draw: random.Random) -> None:
        await self._restart_redis(draw, keeps_data=True)

    async def lose_all_data(self, draw: random.Random) -> None:
        lives = self._scene.books.list_live()
        await self._restart_redis(draw, keeps_data=False)
        await wait_until_async(lambda: not any(life.is_live for life in lives), 60)  # every single one is told

    async def fail_over_in_time(self, draw: random.Random) -> None:
        """A replica that has everything becomes the primary."""
        del draw
        async with self._redis_turn:
            primary, replica = await self._start_replica()
            await asyncio.to_thread(primary.client.execute_command, "CLIENT", "PAUSE", 60_000, "WRITE")
            await wait_until_async(lambda: _read_offset(replica) >= _read_offset(primary), 60)
            await self._replace_primary(primary, replica)

    async def fail_over_behind(self, draw: random.Random) -> None:
        """A replica that lacks what routers have read last becomes the primary.

        What no router has read nobody can miss, so there is none of that.
        """
        scene = self._scene
        async with self._redis_turn:
            primary, replica = await self._start_replica()
            await asyncio.to_thread(replica.client.replicaof, "NO", "ONE")
            await self._last(draw)
            async with scene.publisher.paused():
                await wait_until_async(lambda: _is_all_routed(primary), 60)
                await self._replace_primary(primary, replica)

    async def move_slots(self, draw: random.Random) -> None:
        """Slots of what is used most move to the next server, one after the other."""
        cluster = self._scene.deployment.cluster
        assert cluster is not None
        async with self._redis_turn:
            for key in draw.sample((STREAM, "{gateways}", "{paths}", "{announcements}"), 2):
                await asyncio.to_thread(cluster.move_slot, key_slot(key.strip("{}").encode()))

    async def restart_a_primary(self, draw: random.Random) -> None:
        cluster = self._scene.deployment.cluster
        assert cluster is not None
        async with self._redis_turn:
            server = draw.choice(cluster.primaries)
            await asyncio.to_thread(server.kill)
            await self._last(draw)
            await asyncio.to_thread(server.start)

    async def take_the_lease_away(self, draw: random.Random) -> None:
        for _ in range(draw.randint(1, 3)):
            await asyncio.to_thread(self._delete_leases)
            await asyncio.sleep(draw.uniform(0, 0.2))

    async def cut_clients(self, draw: random.Random) -> None:
        for subscriber in draw.sample(self._scene.crowd.subscribers, len(self._scene.crowd.subscribers) // 3):
            subscriber.cut()

    async def exchange_clients(self, draw: random.Random) -> None:
        crowd = self._scene.crowd
        leaving = draw.sample(crowd.subscribers, len(crowd.subscribers) // 4)
        for subscriber in leaving:
            crowd.subscribers.remove(subscriber)
            await subscriber.stop()
        kinds = dict.fromkeys(map(_find_kind, leaving))
        for dialect, is_resuming in kinds:
            wants = [one.want for one in leaving if _find_kind(one) == (dialect, is_resuming)]
            await crowd.join(wants, dialect=dialect, is_resuming=is_resuming)

    async def publish_a_burst(self, draw: random.Random) -> None:
        await self._scene.publisher.publish(draw.randint(500, 3000), at_once=200)

    async def pause_readers(self, draw: random.Random) -> None:
        paused = [one for one in draw.sample(self._scene.crowd.subscribers, 5) if one.is_live]
        for subscriber in paused:
            subscriber.stop_reading()
        await self._last(draw)
        for subscriber in paused:
            subscriber.go_on_reading()

    # What they are made of

    async def _last(self, draw: random.Random) -> None:
        await asyncio.sleep(draw.uniform(0.05, _LONGEST_FAULT_SECONDS))  # so long does the fault last

    async def _restart_redis(self, draw: random.Random, *, keeps_data: bool) -> None:
        async with self._redis_turn:
            valkey = self._scene.deployment.valkey  # perhaps another one since the last turn
            await asyncio.to_thread(valkey.kill)
            if not keeps_data:
                await asyncio.to_thread(valkey.wipe)
            await self._last(draw)
            await asyncio.to_thread(valkey.start)

    def _delete_leases(self) -> None:
        try:
            with self._scene.deployment.open_client() as administrator:
                administrator.delete(f"{_OF_STREAM}:lease")
        except redis.RedisError:
            pass  # it is away, by another fault of this round

    async def _start_gateway(self) -> None:
        if self._scene.deployment.cluster is not None:
            await self._scene.deployment.start_gateway()
            return
        proxy = await self._open_address()
        # Redis may be away at the moment: an orchestrator tries again.
        while True:
            try:
                gateway = await self._scene.deployment.start_gateway(environment={"FANOUT_REDIS_URL": proxy.url})
                break
            except AssertionError as error:
                if "Redis at" not in str(error):
                    raise
        self._proxies[gateway.process.pid] = proxy

    async def _open_address(self) -> Proxy:
        proxy = await self._stack.enter_async_context(Proxy(self._scene.deployment.valkey.port).running())
        self._addresses.append(proxy)
        return proxy

    async def _start_replica(self) -> tuple[Valkey, Valkey]:
        primary = self._scene.deployment.valkey
        context = run_valkey("--replicaof", "127.0.0.1", str(primary.port))
        replica = await asyncio.to_thread(context.__enter__)
        self._stack.push(context.__exit__)
        await wait_until_async(lambda: replica.client.info("replication")["master_link_status"] == "up", 60)
        return primary, replica

    async def _replace_primary(self, primary: Valkey, replica: Valkey) -> None:
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(replica.client.replicaof, "NO", "ONE")
        await asyncio.to_thread(primary.wipe)
        self._scene.deployment.valkey = replica
        for address in self._addresses:
            address.target_port = replica.port

    def _choose_gateway(self, draw: random.Random) -> Served:
        return draw.choice(self._scene.deployment.gateways)

    def _choose_proxy(self, draw: random.Random) -> Proxy:
        return self._proxies[self._choose_gateway(draw).process.pid]


def _find_kind(subscriber: Subscriber) -> tuple[Dialect, bool]:
    return subscriber.dialect, subscriber.is_resuming


def _read_offset(server: Valkey) -> int:
    return int(server.client.info("replication")["master_repl_offset"])


def _is_all_routed(server: Valkey) -> bool:
    last_id = server.client.xinfo_stream(STREAM)["last-generated-id"]
    return bool(server.client.hget(f"{_OF_STREAM}:checkpoint", "id") == last_id)


@asynccontextmanager
async def break_at_random(
    seed: int, gateways: int = 3, subscribers_per_want: int = 3, is_cluster: bool = False
) -> AsyncIterator[Chaos]:
    """A deployment to be broken, until the block ends; over a Redis Cluster, or a single server and its replicas."""
    async with AsyncExitStack() as stack:
        scene = await stack.enter_async_context(set_scene(0, is_cluster=is_cluster, **_SETTINGS))
        chaos = Chaos(scene, seed, stack)
        await chaos.start(gateways, subscribers_per_want)
        yield chaos
