"""Measurements that scenarios share: lock-step series, rooms at full speed. Knows stages, not what they are for.

**Lock-step**: an event (or a burst of them) is published once everybody has received the one before. So one write is
one event, nothing is joined that the scenario does not join, and the time of a round runs from before publishing to
the last receipt. Rates are receipts over the sum of these times. Beside that stands the server's own processor time,
which shows a server that is faster than the clients that measure it.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from loadtest.fleet import Books
from loadtest.measure import percentile
from loadtest.publisher import draw_rooms, publish_with_lead
from loadtest.stage import Stage, Usage

_LEAD_EVENTS = 2_000
_EVENTS_PER_WRITE = 50
_SEED = 20_251_121


@dataclass(frozen=True, slots=True)
class Series:
    """A lock-step series; times in seconds."""

    rounds: int
    receipts: int
    seconds: float
    round_p50_s: float
    round_max_s: float
    server_cpu_s: float
    bytes_per_receipt: float

    @property
    def per_second(self) -> float:
        """Messages received per second of the rounds."""
        return self.receipts / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Messages received per second of the server's processor time."""
        return self.receipts / self.server_cpu_s

    def to_figures(self) -> dict[str, Any]:
        """For the JSON."""
        return asdict(self) | {"per_second": self.per_second, "per_cpu_second": self.per_cpu_second}


@dataclass(frozen=True, slots=True)
class Flood:
    """Rooms at full speed: what was taken, and what it cost."""

    events: int
    receipts: int
    seconds: float
    usage: Usage
    bytes_per_receipt: float

    @property
    def events_per_second(self) -> float:
        """Events published and received everywhere, per second."""
        return self.events / self.seconds

    @property
    def receipts_per_second(self) -> float:
        """Messages received per second."""
        return self.receipts / self.seconds

    def to_figures(self) -> dict[str, Any]:
        """For the JSON."""
        rates = {"events_per_second": self.events_per_second, "receipts_per_second": self.receipts_per_second}
        return asdict(self) | rates


def run_lock_step(stage: Stage, rounds: int, events: int = 1, *, room: int = 0, warm_up: int = 2) -> Series:
    """Publish `events` at a time to one room, each time after the last receipt of the time before.

    Args:
        stage: where.
        rounds: how many times.
        events: per round.
        room: which.
        warm_up: rounds before, which are not measured.
    """
    times = []
    cpu_before = bytes_before = receipts_before = 0.0
    for number in range(-warm_up, rounds):
        if number == 0:
            cpu_before = stage.read_cpu()[0]
            bytes_before, receipts_before = stage.fleet.bytes_received, stage.fleet.accounted
        marks = [stage.draw(room) for _ in range(events)]
        began_ns = time.monotonic_ns()
        stage.publish(marks)
        last_ns = stage.await_receipts()
        times.append(((last_ns or time.monotonic_ns()) - began_ns) / 1e9)
        if last_ns is None:
            break  # the books will tell what is missing; waiting for it again and again tells no more
    receipts = int(stage.fleet.accounted - receipts_before)
    times = times[warm_up:] or times
    return Series(
        rounds=len(times),
        receipts=receipts,
        seconds=sum(times),
        round_p50_s=percentile(times, 0.5),
        round_max_s=max(times),
        server_cpu_s=stage.read_cpu()[0] - cpu_before,
        bytes_per_receipt=(stage.fleet.bytes_received - bytes_before) / max(receipts, 1),
    )


def run_flood(stage: Stage, seconds: float) -> Flood:
    """Publish to random rooms as fast as events are taken, with a bounded number of them on their way."""
    fleet, crowd = stage.fleet, stage.fleet.crowd
    members = crowd.count * crowd.per_connection / crowd.rooms
    draw_room = draw_rooms(crowd.rooms, _SEED)
    begun = fleet.expected
    bytes_before = fleet.bytes_received
    cpu_before = stage.read_cpu()
    began_ns = time.monotonic_ns()
    events = publish_with_lead(
        stage.publish,
        lambda: stage.draw(draw_room()),
        lambda: int((fleet.expected - fleet.accounted) / members),
        lead=_LEAD_EVENTS,
        batch=_EVENTS_PER_WRITE,
        seconds=seconds,
    )
    elapsed = ((stage.await_receipts() or time.monotonic_ns()) - began_ns) / 1e9
    server, redis, clients = (
        (after - before) / elapsed for before, after in zip(cpu_before, stage.read_cpu(), strict=True)
    )
    receipts = fleet.accounted - begun
    return Flood(
        events=events,
        receipts=receipts,
        seconds=elapsed,
        usage=Usage(elapsed, server, redis, clients),
        bytes_per_receipt=(fleet.bytes_received - bytes_before) / max(receipts, 1),
    )


def gather_faults(*books: Books) -> tuple[dict[str, int], list[str]]:
    """What was wrong in several books, with examples."""
    faults: dict[str, int] = {}
    for book in books:
        for kind, count in book.faults.items():
            faults[kind] = faults.get(kind, 0) + count
        if not book.is_good and not book.faults:
            faults["unbalanced"] = faults.get("unbalanced", 0) + abs(book.expected - book.receipts)
    return faults, [example for book in books for example in book.examples][:5]
