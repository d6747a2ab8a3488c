"""Figures of the bus, for people: `python -m tests.bench.measure_bus` prints a Markdown table.

Publisher and gateway in one process, a real Valkey beside it. Not a test and never asserted.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from fanout.bus import Bus
from fanout.metrics import Metrics
from fanout.model import Bucket, Event, NewEvent
from fanout.settings import Settings
from tests.bench.beside_valkey import run_beside_valkey

SINGLE_EVENTS = 2_000
BACKLOG_EVENTS = 50_000
BUCKETS = 10_000
DATA = b'{"id":"1","roomId":"r","content":"hello"}'


class Measurement:
    """One gateway's bus and what it has delivered."""

    def __init__(self, url: str) -> None:
        self.count = 0
        self.delivered = asyncio.Event()
        self.bus = Bus(Settings(), url, lambda mutation: ("onX",), self._deliver, lambda reason: None, Metrics())

    def _deliver(self, stream: str, events: list[Event]) -> None:
        self.count += len(events)
        self.delivered.set()

    async def wait_for(self, count: int) -> None:
        while self.count < count:
            self.delivered.clear()
            await self.delivered.wait()


async def measure(url: str) -> list[tuple[str, str]]:
    one = Measurement(url)
    await one.bus.start()
    latencies = []
    for number in range(SINGLE_EVENTS):
        start = time.perf_counter()
        await asyncio.gather(one.bus.publish([NewEvent("x", DATA)]), one.wait_for(number + 1))
        latencies.append(time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(BACKLOG_EVENTS // 500):
        await one.bus.publish([NewEvent("x", DATA)] * 500)
    await one.wait_for(SINGLE_EVENTS + BACKLOG_EVENTS)
    rate = BACKLOG_EVENTS / (time.perf_counter() - start)
    start = time.perf_counter()
    await one.bus.register(Bucket("onX", "roomId", f"s{number}") for number in range(BUCKETS))
    registering = time.perf_counter() - start
    await one.bus.stop()
    latencies.sort()
    return [
        ("publish to delivery, median", f"{statistics.median(latencies) * 1000:.2f} ms"),
        ("publish to delivery, 99th percentile", f"{latencies[-SINGLE_EVENTS // 100] * 1000:.2f} ms"),
        ("published 500 at a time and delivered", f"{rate:,.0f} events/s"),
        (f"register {BUCKETS:,} new buckets at once", f"{registering * 1000:.0f} ms"),
    ]


def main() -> None:
    run_beside_valkey(measure)


if __name__ == "__main__":
    main()
