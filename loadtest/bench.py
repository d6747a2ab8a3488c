"""`make bench`: the benchmark suite. Its targets, and what is measured how, are in docs/performance.md.

    python -m loadtest.bench                    # everything, within 15 minutes
    python -m loadtest.bench --only wide        # one scenario
    python -m loadtest.bench --quick            # seconds: shows that it works, says nothing about speed
    python -m loadtest.bench --write-docs       # puts the last runs, also of `make million`, into docs/performance.md

Writes bench.json and bench.md. Exits with 0 if every delivery arrived as it has to, whether targets are met or not;
1 if one did not, 2 if it could not be run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import redis

from loadtest.floor import compile_floor
from loadtest.measure import describe_machine
from loadtest.processes import ProcessError
from loadtest.progress import Progress
from loadtest.publisher import PublishError
from loadtest.report import Outcome, Report, Row, read_report, write_between_marks, write_report
from loadtest.scenarios.connections import run_compression, run_idle, run_memory
from loadtest.scenarios.crowds import run_crowd
from loadtest.scenarios.delivery import run_burst, run_rooms, run_wide
from loadtest.scenarios.latency import run_latency
from loadtest.scenarios.peers import run_peers
from loadtest.scenarios.workers import run_workers
from loadtest.stage import Setting, share_cores
from loadtest.swarm import SwarmError

SCENARIOS: dict[str, Callable[[Setting], Outcome]] = {
    "wide": run_wide,
    "burst": run_burst,
    "rooms": run_rooms,
    "latency": run_latency,
    "memory": run_memory,
    "idle": run_idle,
    "compression": run_compression,
    "workers": run_workers,
    "crowd": run_crowd,
    "peers": run_peers,
}
_ONLY_WHEN_ASKED_FOR = {"peers"}
_CANNOT_RUN = (ProcessError, SwarmError, PublishError, redis.RedisError, OSError)
_NOT_RUN = "not run"
_QUICK_SCALE = 0.005
_DOCUMENT = Path("docs/performance.md")
_RECORDS = Path("docs/performance")


def main(arguments: Sequence[str] | None = None, *, service_command: Sequence[str] | None = None) -> int:
    """Run it and return the exit code: 0 passed, 1 a fault, 2 could not be run.

    Args:
        arguments: command line.
        service_command: what to serve with instead of `fanout serve`.
    """
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="run this scenario; may be given again")
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works")
    parser.add_argument("--output", type=Path, default=Path(".fanout/bench"), help="folder for the results")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds until a receipt is missing [30]")
    parser.add_argument("--write-docs", action="store_true", help=f"put the last run into {_DOCUMENT} and {_RECORDS}")
    parser.add_argument("--million", type=Path, default=Path(".fanout/million"), help="folder of `make million`")
    options = parser.parse_args(arguments)
    try:
        if options.write_docs:
            return _write_docs(options.output, options.million)
        with tempfile.TemporaryDirectory(prefix="fanout-bench-") as folder, Progress(sys.stderr) as progress:
            report = _run(options, Path(folder), progress, service_command)
    except (*_CANNOT_RUN, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    write_report(report, options.output, "bench")
    for outcome in report.outcomes:
        if outcome.faults:
            print(f"bench: {outcome.scenario} FAILED {outcome.faults} {'; '.join(outcome.examples)}", file=sys.stderr)
    return 0 if report.is_good else 1


def _run(
    options: argparse.Namespace, folder: Path, progress: Progress, service_command: Sequence[str] | None
) -> Report:
    gateway_cores, client_cores = share_cores()
    program = compile_floor(folder)
    setting = Setting(
        progress=progress.tell,
        gateway_cores=gateway_cores,
        client_cores=client_cores,
        floor_program=program,
        scale=_QUICK_SCALE if options.quick else 1.0,
        service_command=service_command,
        timeout_s=options.timeout,
        quiet_s=0.1 if options.quick else 0.5,
    )
    began = time.monotonic()
    outcomes = []
    for name in options.only or [name for name in SCENARIOS if name not in _ONLY_WHEN_ASKED_FOR]:
        with progress.step(name):
            outcomes.append(_run_scenario(name, setting))
    if all(_NOT_RUN in outcome.faults for outcome in outcomes):
        raise ProcessError("; ".join(outcome.examples[0] for outcome in outcomes))
    conditions = [
        "Gateway on one core; clients, publisher and Valkey on the other."
        if gateway_cores is not None
        else "All processes on the one core that there is.",
        "Floor: the loop in C." if program is not None else "Floor: the loop in Python, there was no C compiler.",
    ]
    if options.quick:
        conditions.append("A quick run: the figures mean nothing.")
    date = datetime.now(UTC).date().isoformat()
    return Report(date, describe_machine(), conditions, time.monotonic() - began, outcomes)


def _run_scenario(name: str, setting: Setting) -> Outcome:
    """One scenario; what keeps it from being run does not keep the others."""
    try:
        return SCENARIOS[name](setting)
    except _CANNOT_RUN as error:
        return Outcome(
            name, [Row(name, "could not be run", str(error).replace("\n", " ")[:300])], {}, {_NOT_RUN: 1}, [str(error)]
        )


def _write_docs(bench: Path, million: Path) -> int:
    """Put what was measured last into the docs; of the two runs, the one that there is."""
    written = []
    for name, folder in (("bench", bench), ("million", million)):
        if (folder / f"{name}.json").exists():
            report = read_report(folder / f"{name}.json")
            write_between_marks(_DOCUMENT, name, report.to_markdown())
            _RECORDS.mkdir(parents=True, exist_ok=True)
            (_RECORDS / f"{name}.json").write_text(report.to_json())
            written.append(f"{name} of {report.date}")
    if not written:
        raise ValueError(f"no bench.json in {bench} and no million.json in {million}: run `make bench` first")
    print(f"bench: {_DOCUMENT} and {_RECORDS} hold {' and '.join(written)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
