"""Scenario of several gateways on one port: what they ask of Redis for an event, and how connections are spread."""

from __future__ import annotations

from collections import Counter
from typing import Any

import redis

from loadtest.marks import EVERYBODY
from loadtest.processes import Service
from loadtest.report import Outcome, Row
from loadtest.scenarios.crowds import count_all_descriptors, find_spread
from loadtest.scenarios.series import gather_faults, run_lock_step
from loadtest.stage import Setting, play_on_service
from loadtest.swarm import Crowd

_WORKERS = 4
_LEAST_PER_EVENT = 0.05  # rarer commands are those of leases and heartbeats


def run_workers(setting: Setting) -> Outcome:
    """Events to four gateways, in lock-step: one at a time, each routed on its own, is the dearest case."""
    count, events = setting.shrink(4_000, 16), setting.shrink(200, 5)
    rooms = count // 4
    rows: list[Row] = []
    figures: dict[str, Any] = {"connections": count, "workers": _WORKERS, "events": events}
    descriptors: dict[int, int] = {}

    def look(service: Service) -> None:
        descriptors.update(count_all_descriptors(service.pid))

    with play_on_service(
        setting.unpinned(),
        lambda url, key: Crowd(url, key, count, rooms, hears_everybody=True),
        workers=_WORKERS,
        before_connecting=look,
    ) as (stage, _):
        assert stage.redis is not None
        spread = find_spread(descriptors, count / _WORKERS)
        for who, room, at_once in (
            ("heard by all gateways", EVERYBODY, 1),
            ("heard by 4 subscribers", 0, 1),
            ("heard by 4 subscribers, 20 at a time", 0, 20),
        ):
            setting.progress(f"an event {who}")
            before = count_commands(stage.redis)
            run_lock_step(stage, max(events // at_once, 1), at_once, room=room, warm_up=0)
            published = max(events // at_once, 1) * at_once
            commands = {
                command: calls / published
                for command, calls in sorted((count_commands(stage.redis) - before).items())
                if calls / published > _LEAST_PER_EVENT
            }
            listed = ", ".join(f"{command} {calls:.1f}" for command, calls in commands.items())
            total = f"{sum(commands.values()):.1f}: {listed}"
            rows.append(Row("workers", f"Redis commands per event {who}, of {_WORKERS}", total))
            figures[who] = {"commands_per_event": commands}
        books = stage.close_books()
    spreads = ", ".join(f"{connections:,}" for connections in spread)
    rows.append(Row("workers", f"{count:,} connections spread over {_WORKERS} gateways", spreads))
    faults, examples = gather_faults(books)
    return Outcome("workers", rows, figures | {"spread": spread}, faults, examples)


def count_commands(client: redis.Redis) -> Counter[str]:
    """Calls of each command so far; those inside scripts count too, asking for this does not."""
    stats = client.info("commandstats")
    assert isinstance(stats, dict)
    calls = {name.removeprefix("cmdstat_"): int(values["calls"]) for name, values in stats.items()}
    return Counter({name: count for name, count in calls.items() if name != "info"})
