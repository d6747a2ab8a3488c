"""How the resolvers of one request are called: so many at once, until the request's time is over. Knows no resolver.

A request may call 10,000 resolvers. If all went to the processes that run them at once, one client would fill the queue
of all others; and calls that are begun together end together, which holds up the event loop.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fanout.execution import Begin
from fanout.schema import Resolved

CALLS_AT_ONCE: Final = 256
"""Of one request; the others wait their turn. More than data sources on other machines have use for."""


class Pace:
    """Begins the calls of one request; its `wait` is a `fanout.execution.Wait`.

    Args:
        timeout_ms: the request's time, from now.
    """

    __slots__ = ("_loop", "_turns", "_until")

    def __init__(self, timeout_ms: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + timeout_ms / 1000
        self._turns: asyncio.Semaphore | None = None

    async def wait(self, begin: Begin) -> Resolved:
        """Begin a call when it is its turn, and wait for it. Takes 6 us more than the call.

        Raises:
            TimeoutError: the request's time is over; what was begun is cancelled, what was not is not begun.
        """
        if self._turns is None:  # most requests call nothing
            self._turns = asyncio.Semaphore(CALLS_AT_ONCE)
        async with self._turns:
            if self._loop.time() >= self._until:
                raise TimeoutError
            async with asyncio.timeout_at(self._until):
                return await begin()
