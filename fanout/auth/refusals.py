"""How long refusals of credentials are held back: equally for all, and longer for whoever goes on guessing. Pure.

Two purposes. A refusal that came at once here and after a question over the network there would tell what was wrong
with the credentials; so none is answered before the floor. And an address that goes on being refused waits longer: it
cannot keep the process busy with guesses, and what is wrong with a client shows in figures, not in load.

It is no lock: good credentials are never held back, from no address, because behind one address may be thousands of
users, and one of them could lock out all others. What makes guessing hopeless is the length of keys and signatures;
what bounds it is the rate of connects and requests per address (docs/operations.md). A failure counts when it is found
out, so that not waiting for the answer gains nothing. May not know: event loops, sockets, how an address was found out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 8
"""Failures of an address that are answered after the floor; each one more doubles that. A browser whose token has just
ended makes five attempts (Amplify)."""
FORGOTTEN_AFTER_SECONDS: Final = 300.0
"""Without another failure, an address begins anew."""
MAX_ADDRESSES: Final = 20_000
"""Remembered at most, 3 MB; beyond that the one is forgotten that has been quiet for longest. Whoever has so many
addresses is not held up by a count per address."""
MAX_HELD: Final = 5_000
"""Refusals held back at most, 5 MB; beyond that they are answered at once: overload is no time to keep clients."""


class Refusals:
    """The failures of one process.

    Args:
        floor_ms: how long after the question any refusal is answered at the earliest; 0: nothing is held back.
        longest_ms: how long at most, however often an address has failed.
        now: seconds that only grow.
    """

    def __init__(self, floor_ms: int, longest_ms: int, now: Callable[[], float] = time.monotonic) -> None:
        self._floor_s = floor_ms / 1000
        self._longest_s = max(longest_ms, floor_ms) / 1000
        self._failures: dict[str, tuple[int, float]] = {}  # the last that failed at the end
        self.now = now
        self.held = 0
        """How many are held back now."""

    def hold(self, address: str, asked_at: float) -> float:
        """Count a failure, and say for how many seconds its answer is to be held back; 0: answer now.

        Whoever is told more than 0 has to `release` once, when it is answered or not wanted any more. Costs 1 us.

        Args:
            address: where the credentials came from.
            asked_at: what `now` gave when they came.
        """
        if not self._floor_s:
            return 0.0
        now = self.now()
        count, failed_at = self._failures.pop(address, (0, now))
        if now - failed_at > FORGOTTEN_AFTER_SECONDS:
            count = 0
        if len(self._failures) >= MAX_ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[address] = count + 1, now
        wait_s = asked_at + self._find_delay(count + 1) - now
        if wait_s <= 0 or self.held >= MAX_HELD:
            return 0.0
        self.held += 1
        return wait_s

    def release(self) -> None:
        """One that was held back is not any more."""
        self.held -= 1

    def _find_delay(self, count: int) -> float:
        doublings = min(max(0, count - PATIENCE), 30)
        return min(self._floor_s * (1 << doublings), self._longest_s)
