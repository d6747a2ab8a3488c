"""`make million`: a million subscribed connections on one machine, each reached by broadcasts, rooms reached exactly.

    python -m loadtest.million                          # 1,000,000
    python -m loadtest.million --connections 100000     # a smaller step

As many gateways and processes of clients as the descriptor limit asks for, one Redis, all on this machine: 17 GiB and
some minutes for a million. Gives up before the machine runs out of memory, and then tells how many it held. Writes
million.json and million.md. Exits with 0 if all were held and reached, 1 if not, 2 if it could not be run.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import redis

from loadtest.measure import describe_machine
from loadtest.processes import ProcessError
from loadtest.progress import Progress
from loadtest.publisher import PublishError
from loadtest.report import Report, write_report
from loadtest.scenarios.crowds import describe_crowd, hold_crowd
from loadtest.stage import Setting
from loadtest.swarm import SwarmError

_LINE_EVERY_S = 10.0


def main(arguments: Sequence[str] | None = None, *, service_command: Sequence[str] | None = None) -> int:
    """Run it and return the exit code: 0 all held and reached, 1 not all, 2 could not be run.

    Args:
        arguments: command line.
        service_command: what to serve with instead of `fanout serve`.
    """
    parser = argparse.ArgumentParser(prog="python -m loadtest.million", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--connections", type=int, default=1_000_000, help="how many to hold [1000000]")
    parser.add_argument("--timeout", type=float, default=3600.0, help="seconds until they have to be connected [3600]")
    parser.add_argument("--receipt-timeout", type=float, default=300.0, help="seconds until a receipt is missing [300]")
    parser.add_argument("--output", type=Path, default=Path(".fanout/million"), help="folder for the results")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        with Progress(sys.stderr, line_every_s=_LINE_EVERY_S) as progress, progress.step("million"):
            setting = Setting(progress.tell, service_command=service_command, timeout_s=options.receipt_timeout)
            held, books = hold_crowd(setting, options.connections, timeout_s=options.timeout)
    except (ProcessError, SwarmError, PublishError, redis.RedisError, OSError) as error:
        print(f"million: {error}", file=sys.stderr)
        return 2
    outcome = describe_crowd("million", held, books)
    conditions = ["Gateways, clients, publisher and Valkey on all cores."]
    date = datetime.now(UTC).date().isoformat()
    report = Report(date, describe_machine(), conditions, time.monotonic() - began, [outcome])
    write_report(report, options.output, "million")
    if books is None or not books.is_good:
        what = held.stopped_by or f"FAILED {outcome.faults} {'; '.join(outcome.examples)}"
        print(f"million: {held.held:,} of {held.connections:,} held; {what}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
