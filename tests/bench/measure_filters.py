"""Figures of the filter library, for people: `python -m tests.bench.measure_filters [number of filters ...]`.

Not a test and never asserted: figures depend on the machine. Memory is the growth of the process's resident set.
"""

from __future__ import annotations

import gc
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filters import FilterIndex, bucket_keys, event_bucket_keys, parse_filter, to_subscription_filter

EVENT = {"id": "m-1", "roomId": "room-77", "author": "ann", "score": 5, "content": "x" * 120, "tags": ["a", "b"]}


def by_room(number: int) -> dict[str, Any]:
    return {"filterGroup": [{"filters": [{"fieldName": "roomId", "operator": "eq", "value": f"room-{number}"}]}]}


def by_room_and_more(number: int) -> dict[str, Any]:
    """An `eq` on a room and two other conditions, all values distinct."""
    obj = by_room(number)
    obj["filterGroup"][0]["filters"] += [
        {"fieldName": "author", "operator": "ne", "value": f"author-{number}"},
        {"fieldName": "score", "operator": "ge", "value": number + 1000},
    ]
    return obj


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def microseconds(call: Callable[[], object], repetitions: int = 20_000) -> float:
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        best = min(best, (time.perf_counter() - start) / repetitions)
    return best * 1e6


def measure_steps() -> Iterator[tuple[str, float]]:
    one, three = by_room(1), by_room_and_more(1)
    nested = {"roomId": {"eq": "room-1"}, "or": [{"author": {"eq": "ann"}}, {"score": {"ge": 5}}]}
    yield "parse_filter, 1 condition", microseconds(lambda: parse_filter(one))
    yield "parse_filter, 3 conditions", microseconds(lambda: parse_filter(three))
    yield "to_subscription_filter, 3 conditions in 2 groups", microseconds(lambda: to_subscription_filter(nested))
    filter = parse_filter(three)
    yield "bucket_keys, 3 conditions", microseconds(lambda: bucket_keys(filter))
    yield "event_bucket_keys, 2 paths", microseconds(lambda: event_bucket_keys(EVENT, ("roomId", "author")))


def measure_index(count: int, make: Callable[[int], dict[str, Any]]) -> Iterator[tuple[str, str]]:
    gc.collect()
    before = resident_bytes()
    index: FilterIndex[int] = FilterIndex()
    adding = 0.0
    for start in range(0, count, 1000):
        filters = [parse_filter(make(number)) for number in range(start, min(start + 1000, count))]
        began = time.perf_counter()
        for number, filter in enumerate(filters, start):
            index.add(number, filter)
        adding += time.perf_counter() - began
    filters.clear()
    gc.collect()
    yield "memory, filter and index", f"{(resident_bytes() - before) / count:.0f} bytes per filter"
    yield "add", f"{adding / count * 1e6:.1f} us"
    other = parse_filter(make(count + 1))

    def add_and_remove() -> None:
        index.add(-1, other)
        index.remove(-1)

    yield "add and remove one", f"{microseconds(add_and_remove, 2000):.1f} us"
    # Another room for each event, as on the data path: what was matched last is not in the processor's caches.
    events = [{**EVENT, "roomId": f"room-{number * 7919 % count}", "score": 10**9} for number in range(20_000)]
    feed = iter(events * 5)
    yield "match, one hit", f"{microseconds(lambda: index.match(next(feed)), 20_000):.2f} us"
    absent = {**EVENT, "roomId": "nowhere"}
    yield "match, no hit", f"{microseconds(lambda: index.match(absent)):.2f} us"


def print_index(count: int, make: Callable[[int], dict[str, Any]]) -> None:
    for name, text in measure_index(count, make):
        print(f"{make.__name__:18} {count:>9,} filters  {name:26} {text}")


def main() -> None:
    for name, figure in measure_steps():
        print(f"{name:50} {figure:.2f} us")
    for make in (by_room, by_room_and_more):
        for count in map(int, sys.argv[1:] or ("1000", "10000", "100000")):
            # A process each: memory that an earlier one has freed would hide what the next one takes.
            process = multiprocessing.get_context("spawn").Process(target=print_index, args=(count, make))
            process.start()
            process.join()


if __name__ == "__main__":
    main()
