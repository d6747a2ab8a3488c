"""Scenarios of more connections than one process may have: several gateways on one port, one Redis.

Nothing is pinned: gateways and clients share all cores. Each subscription hears a room and what is for everybody.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtest.fleet import Books, raise_descriptor_limit
from loadtest.marks import EVERYBODY
from loadtest.measure import (
    KernelMemory,
    Memory,
    count_descriptors,
    list_descendants,
    read_kernel_memory,
    read_memory,
)
from loadtest.publisher import draw_rooms
from loadtest.report import Outcome, Row, judge
from loadtest.scenarios.series import gather_faults
from loadtest.stage import Setting, Stage, play_on_service
from loadtest.swarm import Crowd, SwarmError

# The kernel spreads connections by a hash of their addresses, so one of many workers gets some hundreds more than
# the others; and a worker has some dozens of descriptors besides.
_DESCRIPTORS_SPARE = 700
_ON_THEIR_WAY = 2_048
_ROOMS = 1_000
_BROADCASTS = 3
_ROOM_EVENTS = 200
_KEEP_FREE_BYTES = 1 << 30
# Dozens of processes take turns on these cores while everybody is reached, for up to 20 s: whoever waits for its turn
# is not dead. With the defaults the lease moves during a broadcast, and connections are closed for a late pong.
_PATIENCE = {
    "FANOUT_PONG_TIMEOUT_MS": "120000",
    "FANOUT_LEASE_MS": "60000",
    "FANOUT_HEARTBEAT_TIMEOUT_MS": "120000",
}


class OutOfMemoryError(SwarmError):
    """The machine has too little memory left to go on; the text says how much, and how many are connected."""


@dataclass(slots=True)
class Held:
    """A crowd that was connected, what it takes, and how it was reached. Bytes and seconds."""

    connections: int
    workers: int
    processes_of_clients: int
    held: int = 0
    stopped_by: str = ""
    connect_seconds: float = 0.0
    gateway: Memory | None = None
    gateway_before: Memory | None = None
    clients: Memory | None = None
    redis_bytes: int = 0
    kernel_before: KernelMemory | None = None
    kernel: KernelMemory | None = None
    spread: list[int] = field(default_factory=list)
    broadcast_seconds: list[float] = field(default_factory=list)
    room_events: int = 0
    room_seconds: float = 0.0
    keep_alives: int = 0

    def to_figures(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self)


def hold_crowd(setting: Setting, count: int, *, timeout_s: float = 300.0) -> tuple[Held, Books | None]:
    """Connect, subscribe and reach a crowd with as many gateways and clients as the descriptor limit asks for.

    Args:
        setting: of the run.
        count: connections.
        timeout_s: until they have to be connected.

    Returns:
        What was measured; and the books, None where memory ran short and nothing could be published.

    Raises:
        ProcessError, SwarmError: it could not be set up, for another reason than memory.
    """
    limit = raise_descriptor_limit()
    workers = max(-(-count // (limit - _DESCRIPTORS_SPARE)), 2)
    processes = -(-count // (limit - _DESCRIPTORS_SPARE))
    held = Held(count, workers, processes, room_events=min(_ROOM_EVENTS, count // 2))
    rooms = min(_ROOMS, max(count // 10, 1))
    descriptors: dict[int, int] = {}

    def look(pid: int) -> None:
        held.gateway_before, held.kernel_before = read_memory(pid), read_kernel_memory()
        descriptors.update(count_all_descriptors(pid))

    def guard(text: str) -> None:
        free = read_kernel_memory().available_bytes
        if free < _KEEP_FREE_BYTES:
            raise OutOfMemoryError(f"{free / 2**20:,.0f} MiB of memory are left, {text}")

    def tell(text: str) -> None:
        setting.progress(f"{text}, {_megabytes(read_kernel_memory().available_bytes)} free")

    def crowd(url: str, key: str) -> Crowd:
        window = max(_ON_THEIR_WAY // processes, 16)
        return Crowd(url, key, count, rooms, hears_everybody=True, window=window)

    with play_on_service(
        setting.unpinned(),
        crowd,
        environment=_PATIENCE,
        workers=workers,
        processes=processes,
        before_connecting=lambda service: look(service.pid),
        is_connected=False,
    ) as (stage, service):
        fleet = stage.fleet
        try:
            held.connect_seconds = fleet.connect(timeout_s, tell, guard=guard)
        except OutOfMemoryError as error:
            held.stopped_by = str(error)
        held.held = fleet.live
        _take_memory(held, stage, service.pid)
        held.spread = find_spread(descriptors, count / workers)
        if held.stopped_by:
            return held, None
        _reach(held, stage, rooms, tell)
        held.keep_alives = fleet.keep_alives
        return held, stage.close_books()


def run_crowd(setting: Setting) -> Outcome:
    """100,000 connections."""
    held, books = hold_crowd(setting, setting.shrink(100_000))
    return describe_crowd("crowd", held, books)


def describe_crowd(scenario: str, held: Held, books: Books | None) -> Outcome:
    """Rows of a crowd that was held, or of what stopped it."""
    faults, examples = gather_faults(books) if books is not None else ({}, [])
    is_met = books is not None and books.is_good
    rows = [
        judge(
            scenario,
            f"{held.connections:,} subscribed connections, {held.workers} gateways, "
            f"{held.processes_of_clients} processes of clients, one Redis",
            f"all reached {_BROADCASTS} times, {held.room_events} events to random rooms reached exactly"
            if is_met
            else f"{held.held:,} held; {held.stopped_by or 'not all were reached'}",
            "all subscribed, all reached, rooms reached exactly",
            is_met=is_met,
        )
    ]
    if held.connect_seconds:
        rate = held.held / held.connect_seconds
        rows.append(Row(scenario, "connected in", f"{held.connect_seconds:.0f} s, {rate:,.0f} per second"))
    if held.broadcast_seconds:
        times = ", ".join(f"{seconds:.2f}" for seconds in held.broadcast_seconds)
        rows.append(Row(scenario, "XADD to the last receipt of everybody", f"{times} s"))
        rows.append(
            Row(scenario, "an event to a room, XADD to its last receipt, mean", f"{held.room_seconds * 1e3:.1f} ms")
        )
    if held.gateway and held.gateway_before and held.clients and held.kernel and held.kernel_before and held.held:
        grown = held.gateway.proportional_bytes - held.gateway_before.proportional_bytes
        kernel = held.kernel.slab_bytes - held.kernel_before.slab_bytes
        rows.append(
            Row(
                scenario,
                "memory: gateways (per connection), kernel (per connection), clients, Redis, still free",
                f"{_megabytes(held.gateway.proportional_bytes)} ({grown / held.held:,.0f} bytes), "
                f"{_megabytes(kernel)} ({kernel / held.held:,.0f} bytes), "
                f"{_megabytes(held.clients.proportional_bytes)}, {_megabytes(held.redis_bytes)}, "
                f"{_megabytes(held.kernel.available_bytes)}",
            )
        )
    if held.spread:
        rows.append(
            Row(scenario, "connections of a gateway, least and most", f"{held.spread[0]:,}, {held.spread[-1]:,}")
        )
    return Outcome(scenario, rows, held.to_figures(), faults, examples)


def count_all_descriptors(pid: int) -> dict[int, int]:
    """Open file descriptors of each process that a service has started."""
    return {member: count_descriptors(member) for member in list_descendants(pid)}


def find_spread(before: dict[int, int], expected: float) -> list[int]:
    """Connections of each gateway, least first: by how much its descriptors have grown.

    Args:
        before: descriptors of the service's processes before anybody connected.
        expected: connections of a gateway if all had the same; a process with far fewer is none.
    """
    grown = (count_descriptors(member) - count for member, count in before.items())
    return sorted(growth for growth in grown if growth > expected / 4)


def _take_memory(held: Held, stage: Stage, pid: int) -> None:
    held.gateway, held.kernel = read_memory(pid), read_kernel_memory()
    clients = [read_memory(member, descendants=False) for member in [*stage.fleet.pids, os.getpid()]]
    held.clients = Memory(
        sum(memory.resident_bytes for memory in clients), sum(memory.proportional_bytes for memory in clients)
    )
    assert stage.redis is not None
    held.redis_bytes = int(stage.redis.info("memory")["used_memory_rss"])


def _reach(held: Held, stage: Stage, rooms: int, tell: Callable[[str], None]) -> None:
    """Broadcasts, one after the other; then random rooms, one after the other."""
    for number in range(_BROADCASTS):
        tell(f"broadcast {number + 1}")
        held.broadcast_seconds.append(_publish_and_wait(stage, EVERYBODY))
    draw_room = draw_rooms(rooms, rooms)
    times = []
    for number in range(held.room_events):
        tell(f"room {number + 1} of {held.room_events}")
        times.append(_publish_and_wait(stage, draw_room()))
        if stage.fleet.is_behind:
            break
    held.room_seconds = sum(times) / len(times)


def _publish_and_wait(stage: Stage, room: int) -> float:
    began_ns = time.monotonic_ns()
    stage.publish([stage.draw(room)])
    return ((stage.await_receipts() or time.monotonic_ns()) - began_ns) / 1e9


def _megabytes(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"
