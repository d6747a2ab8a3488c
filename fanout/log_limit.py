"""How many lines of one kind are logged: what comes from outside must not be able to fill the log.

Logs nothing, and knows no room.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class LogLimit:
    """Lets so many lines pass in each period, and counts the others.

    Args:
        lines: how many.
        period_s: in how many seconds.
        now: seconds on a steady clock.
    """

    def __init__(self, lines: int = 10, period_s: float = 60.0, now: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._period_s = period_s
        self._now = now
        self._left = lines
        self._ends_at = now() + period_s
        self._held_back = 0

    def admit(self) -> int | None:
        """None: do not log this one. Else log it, with the number of lines that were held back since the last one."""
        now = self._now()
        if now >= self._ends_at:
            self._left = self._lines
            self._ends_at = now + self._period_s
        if not self._left:
            self._held_back += 1
            return None
        self._left -= 1
        held_back, self._held_back = self._held_back, 0
        return held_back


def tell_held_back(count: int) -> str:
    """What `LogLimit.admit` has given, as a part of the line; empty for none."""
    return f" (and {count} others before it)" if count else ""
