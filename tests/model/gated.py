"""A connection to Redis whose every call waits for the test, and may be broken off after any of its commands."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fanout.bus.client import Command, Endpoint, Link
from fanout.errors import Unavailable


class GatedLink(Link):
    """A `Link` whose calls are executed, wholly or in part, when the test lets them pass."""

    def __init__(self, endpoint: Endpoint, name: str, lost: Callable[[], None] | None = None) -> None:
        super().__init__(endpoint, name, lost)
        self._permission: asyncio.Future[int | None] | None = None
        self._done = asyncio.Event()

    @property
    def is_waiting(self) -> bool:
        return self._permission is not None

    async def call(self, *commands: Command, wait_ms: int = 0, refusable: int = 0) -> list[Any]:
        self._permission = asyncio.get_running_loop().create_future()
        executed = await self._permission
        try:
            if executed is None:
                return await super().call(*commands, wait_ms=wait_ms, refusable=refusable)
            if part := commands[:executed]:
                await super().call(*part, refusable=len(part))
            raise Unavailable("broken off by the test")
        finally:
            self._done.set()

    async def let_pass(self, executed: int | None = None) -> None:
        """Let the waiting call execute; with a number, only so many commands, and without an answer."""
        assert self._permission is not None
        permission, self._permission = self._permission, None
        self._done.clear()
        permission.set_result(executed)
        await self._done.wait()


class NoPause:
    """In place of `Backoff`: the test decides when a failed call is tried again."""

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def reset(self) -> None:
        pass
