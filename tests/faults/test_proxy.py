"""The proxy leaves no connection open when it goes, however far that had come: gateways connect at any moment."""

from __future__ import annotations

import asyncio
import gc
import socket

import pytest

from tests.faults.proxy import Proxy


@pytest.mark.parametrize("steps", range(10))
async def test_who_connects_while_it_ends_is_closed(steps: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as redis:
        async with Proxy(redis.getsockname()[1]).running() as proxy:
            client = socket.create_connection(("127.0.0.1", proxy.port))
            for _ in range(steps):  # of the event loop: accepted, shown to the proxy, connected to Redis
                await asyncio.sleep(0)
        with client:
            client.setblocking(False)
            async with asyncio.timeout(20):
                try:
                    assert await asyncio.get_running_loop().sock_recv(client, 1) == b""
                except ConnectionError:
                    pass  # as good
    gc.collect()  # a socket that was forgotten fails the test now
