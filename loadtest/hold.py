"""`make hold`: one gateway process holds N subscribed connections; its memory, and the time to reach them all.

    python -m loadtest.hold --connections 10000

Serves with a Redis of its own (or --redis-url), the gateway on one core, the client and that Redis on the other
where there are two. Events go in by XADD, as a mutation service would send them. Writes one JSON file and one
Markdown table row; exits with 0 only if every connection received every event of its room once and in order.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis

from loadtest import chat
from loadtest.measure import describe_machine, percentile, read_resident_bytes
from loadtest.processes import ProcessError, Service, run_redis, run_service
from loadtest.swarm import Swarm, SwarmError

_DESCRIPTORS_BESIDE_CONNECTIONS = 100
_COLUMNS = (
    "date | connections | rooms | KB per connection | connect + init + start per s "
    "| XADD to last receipt, p50 ms | max ms | receipts | faults | machine"
)


@dataclass(frozen=True, slots=True)
class Result:
    """What one run measured. Memory is that of the gateway process; times are seconds."""

    date: str
    machine: str
    is_pinned: bool
    connections: int
    rooms: int
    resident_before_bytes: int
    resident_connected_bytes: int
    resident_after_events_bytes: int
    bytes_per_connection: float
    connect_seconds: float
    connections_per_second: float
    broadcast_seconds: list[float]
    broadcast_p50_seconds: float
    broadcast_max_seconds: float
    receipts: int
    receipts_expected: int
    faults: dict[str, int]
    fault_examples: list[str]

    @property
    def is_good(self) -> bool:
        """Everything arrived as it has to."""
        return not self.faults and self.receipts == self.receipts_expected

    def to_markdown(self) -> str:
        """The row of the table that `docs/performance.md` keeps."""
        cells = (
            self.date,
            f"{self.connections:,}",
            f"{self.rooms:,}",
            f"{self.bytes_per_connection / 1024:.2f}",
            f"{self.connections_per_second:,.0f}",
            f"{self.broadcast_p50_seconds * 1000:.1f}",
            f"{self.broadcast_max_seconds * 1000:.1f}",
            f"{self.receipts:,} of {self.receipts_expected:,}",
            str(sum(self.faults.values())),
            self.machine + ("" if self.is_pinned else ", not pinned"),
        )
        return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] | None = None, *, service_command: Sequence[str] | None = None) -> int:
    """Run it and return the exit code: 0 passed, 1 a fault, 2 could not be run.

    Args:
        arguments: command line.
        service_command: what to serve with instead of `fanout serve`.
    """
    parser = argparse.ArgumentParser(prog="python -m loadtest.hold", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000, help="how many to hold [10000]")
    parser.add_argument("--rooms", type=int, default=1, help="spread over so many rooms [1]")
    parser.add_argument(
        "--repeat", type=int, default=20, help="events, one after the other, by turns to the rooms [20]"
    )
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds until a receipt is missing [30]")
    parser.add_argument("--redis-url", help="use this Redis instead of one of its own")
    parser.add_argument("--output", type=Path, default=Path(".fanout/loadtest"), help="folder for the results")
    options = parser.parse_args(arguments)
    try:
        _raise_descriptor_limit(options.connections)
        with ExitStack() as stack:
            gateway_cores, client_cores = _share_cores()
            redis_url = options.redis_url or stack.enter_context(run_redis(cores=client_cores))
            api_key = secrets.token_hex(16)
            service = stack.enter_context(
                run_service(
                    api_key,
                    secrets.token_hex(16),
                    ["--redis-url", redis_url],
                    command=service_command,
                    cores=gateway_cores,
                )
            )
            if client_cores is not None:
                stack.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
                os.sched_setaffinity(0, client_cores)
            publisher = stack.enter_context(redis.Redis.from_url(redis_url))
            result = _measure(service, api_key, publisher, options, is_pinned=client_cores is not None)
    except (ProcessError, SwarmError, redis.RedisError) as error:
        print(f"hold: {error}", file=sys.stderr)
        return 2
    _write(result, options.output)
    if not result.is_good:
        print(f"hold: FAILED {result.faults} {'; '.join(result.fault_examples)}", file=sys.stderr)
    return 0 if result.is_good else 1


def _measure(
    service: Service, api_key: str, publisher: redis.Redis, options: argparse.Namespace, *, is_pinned: bool
) -> Result:
    publish = _make_publish(publisher)
    # One event before the first look at the memory: what the first one loads is no connection's doing.
    with closing(Swarm(service.url, api_key, ["warm-up"], 1)) as warm_up:
        warm_up.connect()
        warm_up.broadcast(0, publish)
        if warm_up.faults:
            raise SwarmError(f"the very first event did not arrive; {warm_up.describe_faults()}")

    rooms = [f"hold-{number}" for number in range(options.rooms)]
    with closing(Swarm(service.url, api_key, rooms, options.connections)) as swarm:
        before = read_resident_bytes(service.pid)
        connect_seconds = swarm.connect()
        swarm.settle()
        connected = read_resident_bytes(service.pid)
        broadcasts, expected = [], 0
        for turn in range(options.repeat):
            room = turn % options.rooms
            expected += len(range(room, options.connections, options.rooms))
            broadcasts.append(swarm.broadcast(room, publish, options.timeout))
        swarm.settle()
        after = read_resident_bytes(service.pid)
    return Result(
        date=datetime.now(UTC).date().isoformat(),
        machine=describe_machine(),
        is_pinned=is_pinned,
        connections=options.connections,
        rooms=options.rooms,
        resident_before_bytes=before,
        resident_connected_bytes=connected,
        resident_after_events_bytes=after,
        bytes_per_connection=(connected - before) / options.connections,
        connect_seconds=connect_seconds,
        connections_per_second=options.connections / connect_seconds,
        broadcast_seconds=broadcasts,
        broadcast_p50_seconds=percentile(broadcasts, 0.5),
        broadcast_max_seconds=max(broadcasts),
        receipts=swarm.receipts,
        receipts_expected=expected,
        faults=dict(swarm.faults),
        fault_examples=swarm.examples,
    )


def _make_publish(publisher: redis.Redis) -> Callable[[str, str], None]:
    def publish(room: str, key: str) -> None:
        created_at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        data = json.dumps(chat.build_message(key, room, created_at) | {"id": f"{time.time_ns():x}"})
        publisher.xadd("fanout:events", {"mutation": chat.MUTATION, "data": data})

    return publish


def _share_cores() -> tuple[set[int] | None, set[int] | None]:
    """A core for the gateway and one for the rest; None where there are no two."""
    cores = sorted(os.sched_getaffinity(0))
    return ({cores[0]}, {cores[1]}) if len(cores) >= 2 else (None, None)


def _raise_descriptor_limit(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _DESCRIPTORS_BESIDE_CONNECTIONS
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ProcessError(f"{connections} connections need {needed} file descriptors a process, the limit is {hard}")
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _write(result: Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hold.json").write_text(json.dumps(asdict(result), indent=2) + "\n")
    head = f"| {_COLUMNS} |\n|{'---|' * (_COLUMNS.count('|') + 1)}"
    table = f"{head}\n{result.to_markdown()}\n"
    (folder / "hold.md").write_text(table)
    print(table, end="")


if __name__ == "__main__":
    sys.exit(main())
