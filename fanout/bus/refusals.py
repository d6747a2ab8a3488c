"""What Redis refuses to do for this gateway (no permission, another type of key, no memory). Knows no connection.

The connection is good then, and nothing else would show it: each part that is refused notes it here and tries again,
and readiness is told. What was not refused again for a while counts no more, since a publisher that nobody uses
cannot find out that it would succeed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_COUNTS_FOR_S = 10.0


class Refusals:
    """Refusals by part of the gateway.

    Args:
        now: seconds on a steady clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._noted: dict[str, tuple[float, str]] = {}

    def note(self, part: str, error: Exception) -> bool:
        """A part was refused something. Returns whether that is news, to be logged."""
        before = self._noted.get(part)
        self._noted[part] = (self._now(), str(error))
        return before is None or before[1] != str(error)

    def clear(self, part: str) -> None:
        """A part succeeded."""
        if self._noted:
            self._noted.pop(part, None)

    @property
    def reason(self) -> str:
        """What is refused now, in words that may be shown to anybody; empty: nothing."""
        since = self._now() - _COUNTS_FOR_S
        parts = [part for part, (at, _) in self._noted.items() if at >= since]
        return f"Redis refuses commands of this gateway ({', '.join(parts)}), see its log" if parts else ""
