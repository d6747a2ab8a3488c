"""The HTTP client for what has to be asked to decide who somebody is: made of little until it is used.

A ready client takes certificates of authorities, which is most of what it costs; a process that asks nobody does not
pay for that.
"""

from __future__ import annotations

import asyncio

import httpx


def build_client() -> httpx.AsyncClient:
    """A client that costs nothing before its first request; whoever made it closes it."""
    return httpx.AsyncClient(transport=_LateTransport())


class _LateTransport(httpx.AsyncBaseTransport):
    """Makes the client that does the work when it is needed, proxies of the environment included."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._client is None:
            async with self._making:
                if self._client is None:
                    # In a thread: reading the certificates would hold up everybody on the event loop.
                    self._client = await asyncio.to_thread(httpx.AsyncClient)
        return await self._client.send(request, stream=True)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()
