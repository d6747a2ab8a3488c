"""Clients of HTTP data sources: one each, without memory, and all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from fanout.resolvers.http_clients import HttpClients
from tests.listener import accepting, find_port, listen_on_loopback

ANSWER = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nSet-Cookie: session=1\r\nContent-Length: 0\r\n\r\n"


@asynccontextmanager
async def open_server() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that notes requests, and answers each in the same way."""
    listening = listen_on_loopback()
    heads: list[bytes] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                heads.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    async with accepting(listening, converse):
        yield f"http://127.0.0.1:{find_port(listening)}/", heads


async def send(clients: HttpClients, source: str, url: str) -> int:
    """The status of the answer."""
    async with clients.send(source, httpx.Request("GET", url)) as response:
        await response.aread()
        return response.status_code


async def test_nothing_is_kept_of_an_answer_and_nothing_followed() -> None:
    clients = HttpClients()
    async with open_server() as (url, heads):
        assert await send(clients, "orders", url) == 302
        assert not clients._clients["orders"].cookies
        await clients.close()
    assert len(heads) == 1


async def test_nothing_is_sent_any_more_when_all_have_ended() -> None:
    clients = HttpClients()
    async with open_server() as (url, heads):
        await send(clients, "orders", url)
        await clients.close()
        for source in ("orders", "other"):
            with pytest.raises(httpx.ConnectError, match="the gateway ends"):
                await send(clients, source, url)
    assert len(heads) == 1


async def test_a_client_that_is_being_made_when_all_end_sends_nothing() -> None:
    clients = HttpClients()
    sending = asyncio.ensure_future(send(clients, "orders", "http://127.0.0.1:1/"))
    await asyncio.sleep(0)
    await clients.close()
    with pytest.raises(httpx.ConnectError, match="the gateway ends"):
        await sending
