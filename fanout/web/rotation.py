"""How HTTP requests that come at once share the event loop: one is begun in each of its turns. Knows no request.

What a request does before it first waits (headers, credentials, its document) takes about 1 ms and cannot be
interrupted; 2,000 that arrive together would hold up deliveries for seconds. Between two of them everything else has
its turn. Who comes alone does not wait.
"""

from __future__ import annotations

import asyncio
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send


class Rotation:
    """An ASGI application whose HTTP requests begin one after the other.

    Args:
        app: whose requests they are.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._has_begun_one = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            loop = asyncio.get_running_loop()
            if self._has_begun_one:
                turn = loop.create_future()
                self._waiting.append(turn)
                await turn
            else:
                self._has_begun_one = True
                loop.call_soon(self._next)
        await self._app(scope, receive, send)

    def _next(self) -> None:
        """A turn of the event loop later: whoever is next, if anybody is."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._next)
                return
        self._has_begun_one = False
