"""`make loadtest`: serve, let locust load it without its web page for a short time, stop, say how it went.

    python -m loadtest.headless --seconds 20 --users 60

Exits with 0 only if events were delivered and every single delivery was as it has to be.
"""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from loadtest.processes import ProcessError, run_service

_SHOWN_LINES = 30
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")


def main(arguments: Sequence[str] | None = None, *, service_command: Sequence[str] | None = None) -> int:
    """Run the load test and return the exit code: 0 passed, 1 failed, 2 could not be run.

    Args:
        arguments: command line; what it does not know goes to locust.
        service_command: what to serve with instead of `fanout serve`.
    """
    parser = argparse.ArgumentParser(prog="python -m loadtest.headless", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seconds", type=int, default=20, help="how long the load lasts [20]")
    parser.add_argument("--users", type=int, default=60, help="locust users, 5 of 6 subscribe [60]")
    parser.add_argument("--workers", type=int, default=1, help="gateway processes of the service [1]")
    options, for_locust = parser.parse_known_args(arguments)
    api_key, publisher_key = secrets.token_hex(16), secrets.token_hex(16)
    keys = {"LOADTEST_API_KEY": api_key, "LOADTEST_PUBLISHER_KEY": publisher_key}
    service_options = ["--workers", str(options.workers)] if options.workers > 1 else []
    try:
        with run_service(api_key, publisher_key, service_options, command=service_command) as service:
            print(f"loadtest: {options.users} users for {options.seconds} s against {service.url}", flush=True)
            code = _run_locust(service.url, options, for_locust, keys)
            if code != 0:
                output = service.output.read_text(errors="replace").splitlines()
                print("loadtest: the service's last lines", *output[-_SHOWN_LINES:], sep="\n", file=sys.stderr)
    except ProcessError as error:
        print(f"loadtest: {error}", file=sys.stderr)
        return 2
    print("loadtest: passed" if code == 0 else f"loadtest: FAILED (locust's exit code {code}), see the failures above")
    return 0 if code == 0 else 1


def _run_locust(url: str, options: argparse.Namespace, for_locust: list[str], keys: dict[str, str]) -> int:
    command = [sys.executable, "-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--host", url]
    command += ["--users", str(options.users), "--spawn-rate", str(options.users), "--only-summary"]
    command += ["--run-time", f"{options.seconds}s", *for_locust]
    # From the project's folder, so that the locustfile finds its package wherever this was started.
    return subprocess.run(command, cwd=_LOCUSTFILE.parents[1], env=os.environ | keys, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
