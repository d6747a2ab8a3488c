"""Connections to HTTP data sources, kept over reloads: one client for each, so that none waits for another's.

They take no cookies and follow nothing. Knows no request of a resolver.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final

import httpx

_AT_ONCE: Final = 100


class HttpClients:
    """A client per data source, made when it is first used, with 100 requests under way at once.

    httpx would let others wait, too, but looks at all who wait whenever one ends: 600 of them for a source that hangs
    held the event loop up for seconds.
    """

    def __init__(self) -> None:
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_AT_ONCE))
        self._tls: ssl.SSLContext | None = None
        self._making = asyncio.Lock()
        self._is_closed = False

    @asynccontextmanager
    async def send(self, source: str, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """The answer without its body, which is read from it.

        Args:
            source: the data source's name.
            request: ready to be sent, all headers included.

        Raises:
            httpx.HTTPError: nothing usable was answered.
        """
        async with self._turns[source]:
            client = self._clients.get(source) or await self._make(source)
            if self._is_closed:
                raise httpx.ConnectError("the gateway ends")
            response = await client.send(request, stream=True, follow_redirects=False)
            try:
                yield response
            finally:
                await response.aclose()

    async def close(self) -> None:
        """End all connections; nothing is sent any more."""
        self._is_closed = True
        async with self._making:  # one that is being made is among them
            for client in self._clients.values():
                await client.aclose()

    async def _make(self, source: str) -> httpx.AsyncClient:
        async with self._making:
            if self._tls is None:
                # In a thread: reading the authorities' certificates would hold up everybody on the event loop.
                self._tls = await asyncio.to_thread(httpx.create_ssl_context)
            if self._is_closed:
                raise httpx.ConnectError("the gateway ends")
            if source not in self._clients:
                # No cookies: they would be kept for ever, and are of one client's session.
                no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
                self._clients[source] = httpx.AsyncClient(
                    verify=self._tls,
                    cookies=no_cookies,
                    timeout=None,  # noqa: S113 - the data source has its own, for all of it
                )
            return self._clients[source]
