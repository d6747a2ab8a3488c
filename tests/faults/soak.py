"""`make soak SEED= MINUTES=`: random faults for long. Prints each round; ends with 1 and the seed if anything differs.

Beside the books it watches the gateways' memory, and at the end that nothing of them is left in Redis.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Sequence

from tests.faults.chaos import Chaos, Round, break_at_random

_DEFAULT_MINUTES = 20.0
_LARGEST_GATEWAY_BYTES = 300 * 1024 * 1024
_MIB = 1024 * 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and return the exit code: 0 no difference, 1 a difference."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--seed", type=int, help="of an earlier run, to break the same things in the same order")
    parser.add_argument("--minutes", type=float, default=_DEFAULT_MINUTES, help="begin no round after that")
    parser.add_argument("--rounds", type=int, help="end after so many rounds")
    parser.add_argument("--gateways", type=int, default=3)
    parser.add_argument("--cluster", action="store_true", help="over a Redis Cluster whose slots are moved")
    parser.add_argument("--subscribers", type=int, default=3, help="for each want, and as many that resume")
    options = parser.parse_args(arguments)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}, {options.minutes:g} minutes, {options.gateways} gateways", flush=True)
    try:
        asyncio.run(_soak(seed, options))
    except AssertionError as error:
        kind = " CLUSTER=1" if options.cluster else ""
        print(f"{error}\n\nagain with: make soak SEED={seed} MINUTES={options.minutes:g}{kind}", flush=True)
        return 1
    print(f"seed {seed}: no difference", flush=True)
    return 0


async def _soak(seed: int, options: argparse.Namespace) -> None:
    begun = time.monotonic()
    async with break_at_random(seed, options.gateways, options.subscribers, options.cluster) as chaos:
        while time.monotonic() - begun < options.minutes * 60:
            played = await chaos.play_round()
            _show(played, time.monotonic() - begun)
            assert played.largest_bytes < _LARGEST_GATEWAY_BYTES, f"a gateway has {played.largest_bytes // _MIB} MiB"
            if played.number == options.rounds:
                break
        await _end(chaos)


async def _end(chaos: Chaos) -> None:
    left = await chaos.list_what_is_left()
    assert not left, f"left in Redis after all gateways ended: {left}"


def _show(played: Round, seconds: float) -> None:
    endings = " ".join(f"{ending}:{count}" for ending, count in played.endings.items())
    print(
        f"{seconds:6.0f} s  round {played.number:4}  {played.events:8} events  {played.receipts:9} receipts  "
        f"{played.largest_bytes // _MIB:4} MiB  {' + '.join(played.faults)}  [{endings}]",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
