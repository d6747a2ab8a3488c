"""Requests that do not come are cut off; those that do are answered as before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.fanout.gateway.conftest import Harness
from tests.served import wait_until_async


@asynccontextmanager
async def open_tcp(harness: Harness) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    port = int(harness.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 20)


async def send(harness: Harness, writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send, and wait until the one HTTP connection has seen it."""
    [protocol] = await wait_for_protocols(harness, 1)
    seen = []
    received = protocol.data_received
    protocol.data_received = lambda data: (received(data), seen.append(data))  # type: ignore[attr-defined]
    writer.write(data)
    await wait_until_async(lambda: b"".join(seen) == data)
    protocol.data_received = received  # type: ignore[attr-defined]


async def wait_for_protocols(harness: Harness, count: int) -> list[object]:
    await wait_until_async(lambda: len(harness.server.server_state.connections) == count)
    return list(harness.server.server_state.connections)


async def test_a_client_that_sends_nothing_is_cut_off(harness: Harness) -> None:
    async with open_tcp(harness) as (reader, _):
        await wait_for_protocols(harness, 1)
        harness.pass_time(harness.settings.init_timeout_ms + 1000)
        assert (await read_to_end(reader)).startswith(b"HTTP/1.1 408 ")
    assert harness.metrics.refusals["request-timeout"] == 1


async def test_a_client_that_sends_byte_by_byte_gains_no_time(harness: Harness) -> None:
    async with open_tcp(harness) as (reader, writer):
        for part in (b"GET / HT", b"TP/1.1\r\n", b"host: x\r\n", b"a: b\r\n"):
            await send(harness, writer, part)
            harness.pass_time(harness.settings.init_timeout_ms // 3)
        harness.pass_time(1000)
        assert b"408" in await read_to_end(reader)


async def test_a_body_has_a_time_of_its_own(harness: Harness) -> None:
    async with open_tcp(harness) as (reader, writer):
        await send(harness, writer, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        harness.pass_time(harness.settings.init_timeout_ms + 2000)
        assert harness.metrics.refusals.total() == 0
        harness.pass_time(harness.settings.request_timeout_ms)
        await read_to_end(reader)
    assert harness.metrics.refusals["request-timeout"] == 1


async def test_empty_lines_after_an_answer_do_not_keep_a_connection(harness: Harness) -> None:
    async with open_tcp(harness) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
        assert b"404" in answer
        await send(harness, writer, b"\r\n")
        harness.pass_time(harness.settings.init_timeout_ms + 1000)
        assert b"408" in await read_to_end(reader)


async def test_requests_and_websockets_are_not_touched(harness: Harness) -> None:
    async with httpx.AsyncClient() as http, harness.connect() as client:
        assert (await http.get(harness.url)).status_code == 404
        assert (await http.post(harness.url, content=b"x" * 100_000)).status_code == 404
        harness.pass_time(harness.settings.init_timeout_ms + 1000)
        await client.subscribe("s", "subscription { onCreateMessage { id } }")
    assert harness.metrics.refusals.total() == 0


async def test_a_header_that_does_not_end_is_cut_off(build_harness: Any) -> None:
    harness = await build_harness(max_request_header_bytes=4096)
    async with open_tcp(harness) as (reader, writer):
        await send(harness, writer, b"GET / HTTP/1.1\r\nx-long: ")
        writer.write(b"x" * 4096)
        assert (await read_to_end(reader)).startswith(b"HTTP/1.1 431 ")
    async with open_tcp(harness) as (reader, writer):  # nor one of many lines, nor a trailer
        await send(harness, writer, b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
        writer.write(b"a: b\r\n" * 1000)
        assert b"HTTP/1.1" in await read_to_end(reader)
    assert harness.metrics.refusals == {"request-header-too-large": 2}


async def test_large_bodies_and_many_requests_are_no_header(build_harness: Any) -> None:
    harness = await build_harness(max_request_header_bytes=512)
    async with httpx.AsyncClient() as http:
        for _ in range(20):
            assert (await http.post(harness.url, content=b"x" * 100_000)).status_code == 404
    async with open_tcp(harness) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 100)
        for _ in range(100):
            assert b"404" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
    assert harness.metrics.refusals.total() == 0
