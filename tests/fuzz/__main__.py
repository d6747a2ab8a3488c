"""`make fuzz MINUTES=`: the fuzz and model tests in rounds, each with a seed of its own, until the time is over.

    python -m tests.fuzz MINUTES [SEED]

With SEED the rounds count up from there, so a round is run again by giving its seed. Ends at the first failure, with
pytest's report, which holds the failing example, and with exit code 1.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.effort import EXAMPLES_VARIABLE

EXAMPLES_PER_ROUND = 400


def run_round(seed: int) -> int:
    rooms = [str(Path(__file__).parents[1] / room) for room in ("fuzz", "model")]
    command = [sys.executable, "-m", "pytest", "-q", "-x", f"--hypothesis-seed={seed}", *rooms]
    environment = {**os.environ, EXAMPLES_VARIABLE: str(EXAMPLES_PER_ROUND)}
    return subprocess.run(command, env=environment, check=False).returncode


def main(minutes: float, first_seed: int) -> int:
    started = time.monotonic()
    seed = first_seed
    while seed == first_seed or time.monotonic() - started < minutes * 60:
        print(f"fuzz: seed {seed}, {EXAMPLES_PER_ROUND} examples per test", flush=True)
        if code := run_round(seed):
            # A negative code is the number of the signal that ended it.
            print(f"fuzz: failed with exit code {code}; run it again with `make fuzz MINUTES=1 SEED={seed}`")
            return 1
        seed += 1
    rounds, spent_minutes = seed - first_seed, (time.monotonic() - started) / 60
    print(f"fuzz: no failure in {rounds} rounds (seeds {first_seed} to {seed - 1}) and {spent_minutes:.1f} minutes")
    return 0


if __name__ == "__main__":
    given = sys.argv[1:]
    sys.exit(main(float(given[0]), int(given[1]) if len(given) > 1 else random.randrange(1_000_000)))
