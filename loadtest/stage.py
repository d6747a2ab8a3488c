"""What a scenario plays on: a service, a Redis, a fleet and a publisher, each on its core. Knows no scenario.

Where there are two cores, the gateway has one, and Redis, clients and publisher share the other.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import redis

from loadtest.fleet import Books, Fleet
from loadtest.floor import Floor, run_floor
from loadtest.marks import Mark
from loadtest.measure import read_cpu_seconds
from loadtest.peers import Peer
from loadtest.processes import Service, run_redis, run_service
from loadtest.publisher import Publish, Sequencer, open_publisher
from loadtest.reference import Reference, run_reference
from loadtest.swarm import Crowd, Opening, SwarmError

_START_TIMEOUT_S, _START_TIMEOUT_PER_WORKER_S = 30.0, 3.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What all scenarios of a run have in common.

    `scale` multiplies numbers of connections and seconds; 1 but for a smoke run. `floor_program` is the compiled C
    loop, None where there is no compiler. `service_command` is what to serve with instead of `fanout serve`. A
    receipt is missing after `timeout_s`; strays are waited for until nothing has come for `quiet_s`.
    """

    progress: Callable[[str], None]
    gateway_cores: Collection[int] | None = None
    client_cores: Collection[int] | None = None
    floor_program: Path | None = None
    scale: float = 1.0
    service_command: Sequence[str] | None = None
    timeout_s: float = 30.0
    quiet_s: float = 0.5

    def shrink(self, count: int, least: int = 1) -> int:
        """A number of connections or rounds at this scale."""
        return max(int(count * self.scale), least)

    def unpinned(self) -> Setting:
        """For scenarios whose gateways are several: everything may run anywhere."""
        return replace(self, gateway_cores=None, client_cores=None)


@dataclass(slots=True)
class Usage:
    """Processor time per wall-clock second of an interval: 1 is a whole core."""

    seconds: float
    server: float
    redis: float
    clients: float


class Stage:
    """A target with everybody connected to it, and the numbering of what is published to it.

    `publish` takes events for the target, which is the service, a floor, or the reference server.
    """

    def __init__(
        self,
        setting: Setting,
        fleet: Fleet,
        publish: Publish,
        server_pid: int,
        redis_client: redis.Redis | None = None,
    ) -> None:
        self.setting = setting
        self.fleet = fleet
        self.publish = publish
        self.server_pid = server_pid
        self.redis = redis_client
        self.connect_seconds = 0.0
        self._sequencer = Sequencer({})
        self._redis_pid = int(redis_client.info("server")["process_id"]) if redis_client is not None else None

    def draw(self, room: int, intended_ns: int = 0) -> Mark:
        """The next event of a room, entered in the books as published."""
        self.fleet.note_published(room)
        return self._sequencer.next_mark(room, intended_ns)

    def await_receipts(self) -> int | None:
        """Wait for what is due; returns when the last of it came, in monotonic ns, None if something did not."""
        last_ns = self.fleet.await_receipts(self.setting.timeout_s)
        return None if self.fleet.is_behind else last_ns

    def close_books(self) -> Books:
        """Wait for strays and reconcile."""
        return self.fleet.reconcile(self.setting.quiet_s)

    def read_cpu(self) -> tuple[float, float, float]:
        """Seconds of processor time so far: server, Redis, clients with the publisher."""
        clients = time_of_this_process() + sum(read_cpu_seconds(pid) for pid in self.fleet.pids)
        return read_cpu_seconds(self.server_pid), read_cpu_seconds(self._redis_pid) if self._redis_pid else 0.0, clients


def time_of_this_process() -> float:
    """Seconds of processor time of this process without its children."""
    times = os.times()
    return times.user + times.system


def share_cores() -> tuple[set[int] | None, set[int] | None]:
    """A core for the gateway and one for the rest; None where there are no two."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) >= 2 else (None, None)


@contextmanager
def play_on_service(
    setting: Setting,
    crowd: Callable[[str, str], Crowd],
    *,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    at_once: bool = False,
    workers: int = 1,
    processes: int | None = None,
    before_connecting: Callable[[Service], None] | None = None,
    is_connected: bool = True,
) -> Iterator[tuple[Stage, Service]]:
    """Serve and connect everybody, after one event to one connection, so that nothing is measured cold.

    Args:
        setting: of the run.
        crowd: made of the service's URL and API key.
        options: further options of `fanout serve`.
        environment: further settings, as variables.
        at_once: several events of one call are appended in a transaction.
        workers: gateway processes.
        processes: how many of clients; None for as many as are needed.
        before_connecting: called with the warm service.
        is_connected: connect everybody; False where the scenario does that itself.

    Raises:
        ProcessError, SwarmError: it could not be set up.
    """
    with ExitStack() as stack:
        redis_url = stack.enter_context(run_redis(cores=setting.client_cores))
        api_key = secrets.token_hex(16)
        service = stack.enter_context(
            run_service(
                api_key,
                secrets.token_hex(16),
                ["--redis-url", redis_url, *(["--workers", str(workers)] if workers > 1 else []), *options],
                command=setting.service_command,
                timeout_s=_START_TIMEOUT_S + _START_TIMEOUT_PER_WORKER_S * workers,
                cores=setting.gateway_cores,
                environment=environment,
            )
        )
        stack.enter_context(stay_on(setting.client_cores))
        publisher = stack.enter_context(open_publisher(redis_url, at_once=at_once))
        client = stack.enter_context(redis.Redis.from_url(redis_url))
        with Fleet(Crowd(service.url, api_key, 1)) as warm_up:
            warm_up.connect()
            stage = Stage(setting, warm_up, publisher.publish, service.pid)
            publisher.publish([stage.draw(0)])
            if stage.await_receipts() is None:
                raise SwarmError("the very first event did not arrive")
        if before_connecting is not None:
            before_connecting(service)
        fleet = stack.enter_context(Fleet(crowd(service.url, api_key), processes))
        stage = Stage(setting, fleet, publisher.publish, service.pid, client)
        if is_connected:
            stage.connect_seconds = fleet.connect(progress=setting.progress)
        yield stage, service


@contextmanager
def play_on_floor(setting: Setting, program: Path | None, crowd: Crowd) -> Iterator[tuple[Stage, Floor]]:
    """The same for a floor: the C program, or the loop in Python where it is None. The crowd's URL is not used."""
    with ExitStack() as stack:
        floor = stack.enter_context(run_floor(crowd.count, crowd.rooms, program, cores=setting.gateway_cores))
        stack.enter_context(stay_on(setting.client_cores))
        fleet = stack.enter_context(Fleet(replace(crowd, url=floor.url, opening=Opening.BARE)))
        fleet.connect(progress=setting.progress)
        yield Stage(setting, fleet, floor.publish, floor.pid), floor


@contextmanager
def play_on_reference(setting: Setting, crowd: Crowd, **options: Any) -> Iterator[tuple[Stage, Reference]]:
    """The same for the FastAPI reference server. The crowd's URL is not used."""
    with ExitStack() as stack:
        reference = stack.enter_context(run_reference(cores=setting.gateway_cores, **options))
        stack.enter_context(stay_on(setting.client_cores))
        fleet = stack.enter_context(Fleet(replace(crowd, url=reference.url)))
        fleet.connect(progress=setting.progress)
        yield Stage(setting, fleet, reference.publish, reference.pid), reference


@contextmanager
def play_on_peer(
    setting: Setting, run: Callable[..., AbstractContextManager[Peer]], crowd: Crowd
) -> Iterator[tuple[Stage, Peer]]:
    """The same for a peer. The crowd's URL is not used, and it has one room."""
    with ExitStack() as stack:
        peer = stack.enter_context(run(cores=setting.gateway_cores))
        stack.enter_context(stay_on(setting.client_cores))
        fleet = stack.enter_context(Fleet(replace(crowd, url=peer.url, opening=Opening.CHANNEL)))
        fleet.connect(progress=setting.progress)
        yield Stage(setting, fleet, peer.publish, peer.pid), peer


@contextmanager
def stay_on(cores: Collection[int] | None) -> Iterator[None]:
    """Keep this process, and those it starts, on some cores for a while; None for where they are."""
    before = os.sched_getaffinity(0)
    if cores is not None:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
