"""Figures of the filter library, for people: `python -m tests.bench.measure_filters [number ...] [--json FILE]`.

Never asserted: figures depend on the machine. Times are processor time, since other programs run beside this one;
memory is the growth of the process's resident set. Each size of each workload has a process of its own: memory that
an earlier one has freed would hide what the next one takes.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

from filters import Filter, FilterIndex, bucket_keys, event_bucket_keys, parse_filter, to_subscription_filter
from loadtest.measure import read_resident_bytes
from tests.bench.filter_workloads import MIXED, ROOM, WORKLOADS, Workload

Figures = dict[str, Any]


def measure_steps() -> Figures:
    """What is done once for each filter or event, beside the index, in us."""
    three = {
        "filterGroup": [
            {
                "filters": [
                    {"fieldName": "roomId", "operator": "eq", "value": "room-1"},
                    {"fieldName": "author", "operator": "ne", "value": "author-1"},
                    {"fieldName": "score", "operator": "ge", "value": 1000},
                ]
            }
        ]
    }
    nested = {"roomId": {"eq": "room-1"}, "or": [{"author": {"eq": "ann"}}, {"score": {"ge": 5}}]}
    filter, event = parse_filter(three), MIXED.event(Random(1), 1000)
    steps: dict[str, Callable[[], object]] = {
        "parse_filter, 3 conditions": lambda: parse_filter(three),
        "to_subscription_filter, 3 conditions in 2 groups": lambda: to_subscription_filter(nested),
        "bucket_keys, 3 conditions": lambda: bucket_keys(filter),
        "event_bucket_keys, 2 paths": lambda: event_bucket_keys(event, ("roomId", "author")),
    }
    return {name: min(_microseconds(step, 2000) for _ in range(5)) for name, step in steps.items()}


def measure_workload(workload: Workload, count: int, event_count: int = 10_000) -> Figures:
    """Build an index of `count` filters and measure it.

    Returns:
        `filters` (distinct), `memory_bytes` (per distinct filter, the filter included), `add_us` (mean while building),
        `update_us` and `update_p99_us` (one removed or added in the full index; the percentile is wall time),
        `match_us` (mean over different events) with `matches`, the mean number of true matches, and
        `beside_matches_us`: for mixed filters see `measure_beside_matches`, else for a room that nobody asks for.
    """
    gc.collect()
    before = read_resident_bytes(os.getpid())
    index: FilterIndex[int] = FilterIndex()
    adding = 0.0
    for start in range(0, count, 1000):
        numbers = range(start, min(start + 1000, count))
        filters = [workload.filter(number, count) for number in numbers]
        began = time.process_time()
        for number, filter in zip(numbers, filters, strict=True):
            index.add(number, filter)
        adding += time.process_time() - began
    filters.clear()
    gc.collect()
    distinct = index.filter_count
    figures: Figures = {
        "workload": workload.name,
        "keys": count,
        "filters": distinct,
        "memory_bytes": round((read_resident_bytes(os.getpid()) - before) / distinct),
        "add_us": adding / count * 1e6,
        **_measure_updates(index, workload, count),
    }
    random = Random(77)
    # Every event another one: what was touched for the last one is not what is in the processor's caches.
    events = [workload.event(random, count) for _ in range(event_count if workload is not MIXED else event_count // 50)]
    matches = sum(len(index.match(event)) for event in events)
    began = time.process_time()
    for event in events:
        index.match(event)
    figures["match_us"] = (time.process_time() - began) / len(events) * 1e6
    figures["matches"] = matches / len(events)
    if workload is MIXED:
        figures["beside_matches_us"], figures["beside_matches_again_us"] = measure_beside_matches(
            index, workload, count, events[:15]
        )
    else:
        absent = [{**event, "roomId": "nowhere", "userId": "nobody"} for event in events]
        assert not any(map(index.match, absent))
        feed = iter(absent)
        figures["beside_matches_us"] = _microseconds(lambda: index.match(next(feed)), len(absent))
    return figures


def measure_beside_matches(
    index: FilterIndex[int], workload: Workload, count: int, events: Iterable[dict[str, Any]]
) -> tuple[float, float]:
    """What matching costs besides the true matches, in us: the median over some events.

    All keys that an event matches are removed, the event is matched again, which then finds none, and they are put
    back. So what is left out is exactly what has to be paid for the result, and no estimate of it is subtracted.

    Returns:
        The figure for matching it once, when changing the index has driven what it touches from the processor's
        caches, and for matching it again right after that.
    """
    once, again = [], []
    for event in events:
        matched = index.match(event)
        for key in matched:
            index.remove(key)
        began = time.process_time()
        rest = index.match(event)
        once.append((time.process_time() - began) * 1e6)
        assert not rest
        again.append(_best_of_matches(index, event, 20))
        for key in matched:
            index.add(key, workload.filter(key, count))
    return statistics.median(once), statistics.median(again)


def measure_shared(subscriptions: int = 100_000, distinct: int = 100) -> list[Figures]:
    """Many subscriptions on few filters, beside as many subscriptions as filters."""
    rows = []
    for keys in (distinct, subscriptions):
        index: FilterIndex[int] = FilterIndex()
        for key in range(keys):
            index.add(key, ROOM.filter(key % distinct, distinct))
        hit = ROOM.event(Random(1), distinct)
        rows.append(
            {
                "workload": "shared",
                "keys": keys,
                "filters": distinct,
                "match_us": _best_of_matches(index, hit),
                "matches": len(index.match(hit)),
                "beside_matches_us": _best_of_matches(index, {**hit, "roomId": "nowhere"}),
            }
        )
    return rows


def _best_of_matches(index: FilterIndex[int], event: dict[str, Any], repetitions: int = 2000) -> float:
    return min(_microseconds(lambda: index.match(event), repetitions) for _ in range(5))


def _measure_updates(index: FilterIndex[int], workload: Workload, count: int) -> Figures:
    random = Random(5)
    keys = random.sample(range(count), min(count, 2000))
    filters: list[Filter] = [workload.filter(key, count) for key in keys]
    single: list[int] = []
    began = time.process_time()
    for key in keys:
        start = time.perf_counter_ns()
        index.remove(key)
        single.append(time.perf_counter_ns() - start)
    for key, filter in zip(keys, filters, strict=True):
        start = time.perf_counter_ns()
        index.add(key, filter)
        single.append(time.perf_counter_ns() - start)
    mean = (time.process_time() - began) / (2 * len(keys)) * 1e6
    return {"update_us": mean, "update_p99_us": sorted(single)[len(single) * 99 // 100] / 1000}


def _microseconds(call: Callable[[], object], repetitions: int) -> float:
    began = time.process_time()
    for _ in range(repetitions):
        call()
    return (time.process_time() - began) / repetitions * 1e6


def _describe_machine() -> Figures:
    info = Path("/proc/cpuinfo").read_text()
    models = {line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": ", ".join(sorted(models)) or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "date": time.strftime("%Y-%m-%d"),
    }


def _measure_apart(name: str, count: int) -> Figures:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_measure_named, (name, count))


def _measure_named(name: str, count: int) -> Figures:
    return measure_workload(next(workload for workload in WORKLOADS if workload.name == name), count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 10_000, 100_000], help="numbers of filters")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    arguments = parser.parse_args()
    result: Figures = {"machine": _describe_machine(), "steps_us": measure_steps(), "rows": []}
    print(json.dumps(result["steps_us"], indent=1))
    for row in measure_shared():
        result["rows"].append(row)
        print(json.dumps(row))
    for workload in WORKLOADS:
        for count in arguments.sizes:
            row = _measure_apart(workload.name, count)
            result["rows"].append(row)
            print(json.dumps(row))
            sys.stdout.flush()
    if arguments.json is not None:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(_rounded(result), indent=1) + "\n")


def _rounded(value: Any) -> Any:
    """Three digits: more would be noise."""
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.3g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
