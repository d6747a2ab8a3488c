"""What an invalidation filter costs a subscription: `python -m tests.bench.measure_invalidation` prints figures.

Not a test and never asserted: figures depend on the machine.
"""

from __future__ import annotations

import gc
import os
import time

from fanout.gateway.invalidation import Invalidations
from filters import build_equality_filter
from loadtest.measure import read_resident_bytes

COUNT = 200_000


class Connection:
    __slots__ = ()


def main() -> None:
    connections = [Connection() for _ in range(COUNT)]
    for name, distinct in (("1,000 users", 1000), ("each another user", COUNT)):
        invalidations = Invalidations()
        shared = [build_equality_filter({"userId": f"user-{number}"}) for number in range(min(distinct, 1000))]
        gc.collect()
        before = read_resident_bytes(os.getpid())
        began = time.perf_counter()
        for number, connection in enumerate(connections):
            filter = shared[number % 1000] if distinct == 1000 else build_equality_filter({"userId": f"user-{number}"})
            invalidations.add("onX", filter, connection, "1")  # type: ignore[arg-type]
        adding = time.perf_counter() - began
        gc.collect()
        taken = (read_resident_bytes(os.getpid()) - before) / COUNT
        began = time.perf_counter()
        found = sum(len(invalidations.match("onX", {"userId": f"user-{number}"})) for number in range(1000))
        matching = (time.perf_counter() - began) / 1000
        print(
            f"{name}: {taken:.0f} bytes per subscription, {adding / COUNT * 1e6:.1f} us to add, "
            f"{matching * 1e6:.1f} us for an order that finds {found / 1000:.0f}"
        )


if __name__ == "__main__":
    main()
