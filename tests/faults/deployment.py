"""A deployment under test: gateway processes over one Valkey, each to be killed, stopped and replaced at will.

Knows how `fanout serve` is started and what its metrics say; nothing of clients.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager

import httpx
import redis

from tests.served import Served, serve, wait_until_async
from tests.valkey import Valkey, ValkeyCluster, run_valkey, run_valkey_cluster

# The lease moves quickly; nobody is written off unless a test wants that, however busy the machine is.
QUICK: dict[str, str] = {
    "FANOUT_LEASE_MS": "900",
    "FANOUT_HEARTBEAT_INTERVAL_MS": "300",
    "FANOUT_HEARTBEAT_TIMEOUT_MS": "60000",
}
SOON_WRITTEN_OFF = {"FANOUT_HEARTBEAT_TIMEOUT_MS": "1500"}


class Deployment:
    """Gateways and their Valkey.

    Args:
        valkey: running; the first server of a cluster.
        environment: of every gateway, over `QUICK`.
        cluster: that it is one of.
    """

    def __init__(self, valkey: Valkey, environment: Mapping[str, str], cluster: ValkeyCluster | None = None) -> None:
        self.valkey = valkey
        self.cluster = cluster
        self.gateways: list[Served] = []
        self.ended: list[Served] = []
        self._environment = QUICK | {"FANOUT_REDIS_URL": valkey.url} | dict(environment)
        self._stack = ExitStack()
        self._stopped: set[int] = set()
        self._hidden: set[int] = set()

    def list_ports(self) -> list[int]:
        """Where clients can connect to: what a load balancer knows."""
        left_out = self._stopped | self._hidden
        return [gateway.port for gateway in self.gateways if gateway.process.pid not in left_out]

    async def start_gateway(self, *arguments: str, **options: object) -> Served:
        """Start one more gateway; `options` are those of `tests.served.serve`, `environment` is laid over ours."""
        environment = self._environment | dict(options.pop("environment", {}))  # type: ignore[call-overload]
        context = serve(*arguments, environment=environment, **options)  # type: ignore[arg-type]
        gateway = await asyncio.to_thread(context.__enter__)
        self._stack.push(context.__exit__)
        self.gateways.append(gateway)
        return gateway

    async def start_gateways(self, count: int) -> None:
        await asyncio.gather(*(self.start_gateway() for _ in range(count)))

    async def kill(self, gateway: Served) -> None:
        """SIGKILL; the load balancer notices at once."""
        self._end(gateway)
        gateway.process.kill()
        await asyncio.to_thread(gateway.process.wait)

    async def terminate(self, gateway: Served) -> int:
        """SIGTERM, and wait for the end. Returns the exit code."""
        self._end(gateway)
        return await asyncio.to_thread(gateway.stop)

    def stop(self, gateway: Served) -> None:
        """SIGSTOP: it does nothing more, and its connections stay open."""
        self._stopped.add(gateway.process.pid)
        gateway.process.send_signal(signal.SIGSTOP)

    def go_on(self, gateway: Served) -> None:
        """SIGCONT: it goes on as if nothing had happened."""
        gateway.process.send_signal(signal.SIGCONT)
        self._stopped.discard(gateway.process.pid)

    def hide(self, gateway: Served) -> None:
        """Have the load balancer send nobody there."""
        self._hidden.add(gateway.process.pid)

    def show(self, gateway: Served) -> None:
        self._hidden.discard(gateway.process.pid)

    async def find_router(self) -> Served:
        """The gateway that holds the lease, as soon as there is one."""
        found: list[Served] = []

        async def look() -> bool:
            for gateway in self.gateways:
                if gateway.process.pid not in self._stopped and await read_metric(gateway, "fanout_routed_streams"):
                    found.append(gateway)
            return bool(found)

        await wait_until_true(look)
        return found[0]

    async def find_other(self) -> Served:
        """A gateway that is not the router."""
        router = await self.find_router()
        return next(gateway for gateway in self.gateways if gateway is not router)

    def open_client(self) -> redis.Redis | redis.RedisCluster:
        """A client for keys wherever they are now; to be closed."""
        if self.cluster is None:
            return redis.Redis(port=self.valkey.port, decode_responses=True)
        return redis.RedisCluster(host="127.0.0.1", port=self.valkey.port, decode_responses=True)

    def find_defects(self) -> list[str]:
        """Lines of logs that tell of a defect of our own, in gateways that live or lived."""
        lines = [line for gateway in (*self.gateways, *self.ended) for line in gateway.log]
        lines = [line for line in lines if "not reloaded" not in line]  # an operator's mistake
        return [line for line in lines if "Traceback" in line or " ERROR " in line or "never retrieved" in line]

    def close(self) -> None:
        for gateway in (*self.gateways, *self.ended):
            if gateway.process.poll() is None:
                gateway.process.kill()  # also what is stopped
        self._stack.close()

    def _end(self, gateway: Served) -> None:
        self.gateways.remove(gateway)
        self.ended.append(gateway)


async def read_metric(gateway: Served, name: str) -> float:
    """A metric of a gateway that answers; 0 while it does not."""
    try:
        return await asyncio.to_thread(gateway.read_metric, name)
    except httpx.HTTPError:
        return 0.0


async def wait_until_true(look: Callable[[], Awaitable[object]], seconds: float = 30) -> None:
    """Wait for a condition that has to be asked for."""
    holds = False

    async def ask() -> None:
        nonlocal holds
        while not await look():
            await asyncio.sleep(0.02)
        holds = True

    asking = asyncio.create_task(ask())
    try:
        await wait_until_async(asking.done, seconds)
        await asking
    finally:
        asking.cancel()
    assert holds


@asynccontextmanager
async def deploy(gateways: int, *, is_cluster: bool = False, **environment: str) -> AsyncIterator[Deployment]:
    """So many gateways over a Valkey of their own, or a cluster of three, until the block ends."""
    with ExitStack() as stack:
        cluster = stack.enter_context(run_valkey_cluster()) if is_cluster else None
        valkey = stack.enter_context(run_valkey()) if cluster is None else cluster.primaries[0]
        deployment = Deployment(valkey, environment, cluster)
        stack.callback(deployment.close)
        await deployment.start_gateways(gateways)
        yield deployment
