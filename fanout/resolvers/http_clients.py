"""Connections to HTTP data sources, kept over reloads: one client for each, so that none waits for another's.

They take no cookies and follow nothing. Knows no request of a resolver.
"""

from __future__ import annotations

import asyncio
import ssl
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx


class HttpClients:
    """A client per data source, made when it is first used."""

    def __init__(self) -> None:
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._tls: ssl.SSLContext | None = None
        self._making = asyncio.Lock()
        self._is_closed = False

    async def send(self, source: str, request: httpx.Request) -> httpx.Response:
        """The answer without its body, which is read from it; the caller closes it.

        Args:
            source: the data source's name.
            request: ready to be sent, all headers included.

        Raises:
            httpx.HTTPError: nothing usable was answered.
        """
        client = self._clients.get(source) or await self._make(source)
        if self._is_closed:
            raise httpx.ConnectError("the gateway ends")
        return await client.send(request, stream=True, follow_redirects=False)

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
