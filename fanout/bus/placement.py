"""Which gateway routes which of several streams: evenly spread, by wishes. Knows no connection.

- A free lease is taken at once by a gateway that holds none, and later by others, the more they hold.
- Whoever does not get a lease leaves a wish beside it that says how many it holds itself. A holder that sees a wish of
  a gateway with at least two fewer gives the stream up. So any two gateways come to differ by one at most, which means
  that nobody holds more than its share rounded up; and a stream that was given up is not wished back.
- It gives up one stream at a time, and lets the counts in the wishes catch up before the next: wishes are renewed at a
  third of a lease, and half a lease is between two streams.

A wish ends by itself, so that a gateway that died wishes for nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_PAUSE_PART_PER_LEASE = 10
_LONGEST_PAUSE_PART = 2


class Placement:
    """How many streams one gateway routes. One for all of its routers.

    Args:
        stream_count: how many streams the deployment has; with one there is nothing to spread.
        lease_ms: duration of a lease.
        now: seconds on a steady clock.
    """

    def __init__(self, stream_count: int, lease_ms: int, now: Callable[[], float] = time.monotonic) -> None:
        self._lease_ms = lease_ms
        self._now = now
        self._next_give_up = 0.0
        self.is_needed = stream_count > 1
        self.held = 0
        """How many leases this gateway holds."""

    @property
    def pause_ms(self) -> int:
        """How long to leave a free lease to gateways that hold fewer."""
        if not (self.is_needed and self.held):
            return 0
        return max(1, min(self.held * self._lease_ms // _PAUSE_PART_PER_LEASE, self._lease_ms // _LONGEST_PAUSE_PART))

    @property
    def wish_lasts_ms(self) -> int:
        """How long a wish counts; it is renewed at a third of a lease."""
        return max(1, self._lease_ms)

    def may_give_up(self, wisher_holds: int | None) -> bool:
        """Whether to give up a stream to whoever holds so many (None: nobody wishes for it). True counts as done."""
        if wisher_holds is None or self.held - wisher_holds < 2 or self._now() < self._next_give_up:
            return False
        self._next_give_up = self._now() + self._lease_ms / 1000 / 2
        return True
