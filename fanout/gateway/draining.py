"""Closing all connections in steps when the gateway goes away. Knows neither sockets nor signals.

Closed all at once, ten thousand clients would connect to the gateways that stay at once; see
docs/decisions/0010-draining-in-steps.md.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

STEP_MS = 100


class Closable(Protocol):
    """What is needed of a connection."""

    def shutdown(self) -> None:
        """Write what is waiting, say why, and close. Never waits."""
        ...


async def close_in_steps(
    list_open: Callable[[], Sequence[Closable]],
    per_second: int,
    within_ms: int,
    pause: Callable[[int], Awaitable[bool]],
) -> int:
    """Close connections until there are none, the same number in each step of 100 ms.

    Args:
        list_open: those that have not been closed yet.
        per_second: how many are closed per second, unless more have to be for all to be closed in time.
        within_ms: when the last one has to be closed.
        pause: waits so many ms; returns whether there is no time left, and the rest is to be closed at once.

    Returns:
        How many were closed.
    """
    closed = 0
    steps_left = max(1, within_ms // STEP_MS)
    while waiting := list_open():
        count = max(per_second * STEP_MS // 1000, 1, math.ceil(len(waiting) / max(1, steps_left)))
        for connection in waiting[:count]:
            connection.shutdown()
        closed += min(count, len(waiting))
        if count >= len(waiting):
            continue  # look again at once: none is left, unless one was opened meanwhile
        steps_left -= 1
        if await pause(STEP_MS):
            steps_left = 0
    return closed
