"""Nothing that was accepted is left open, however far it had come when the block ended."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
from pathlib import Path

import pytest

from fanout.development_tls import create_development_certificate
from tests.listener import accepting, find_port, listen_on_loopback

# Of the event loop: accepted, its task begins, its transport is made, the handler begins.
STEPS = range(8)


async def take_steps(steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)


async def read_to_the_end(client: socket.socket) -> bytes:
    """What it is sent until the other side closes; fails if that does not come."""
    client.setblocking(False)
    received = b""
    async with asyncio.timeout(20):
        while True:
            try:
                chunk = await asyncio.get_running_loop().sock_recv(client, 1 << 16)
            except ConnectionError:
                return received
            if not chunk:
                return received
            received += chunk


async def never_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("is_tls", [False, True])
async def test_who_connects_while_it_ends_is_closed(tmp_path: Path, steps: int, is_tls: bool) -> None:
    tls = None
    if is_tls:
        files = create_development_certificate(tmp_path)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(files.cert, files.key)
    listening = listen_on_loopback()
    async with accepting(listening, never_end, tls=tls):
        client = socket.create_connection(("127.0.0.1", find_port(listening)))
        await take_steps(steps)
    with client:
        assert await read_to_the_end(client) == b""
    gc.collect()  # a socket that was forgotten fails the test now


async def test_what_was_written_is_sent_before_a_conversation_is_closed() -> None:
    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 10_000_000)

    listening = listen_on_loopback()
    async with accepting(listening, pour):
        with socket.create_connection(("127.0.0.1", find_port(listening))) as client:
            assert len(await read_to_the_end(client)) == 10_000_000


async def test_a_client_that_does_not_read_does_not_hold_up_the_end() -> None:
    done = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * 10_000_000)
        done.set()

    listening = listen_on_loopback()
    with socket.socket() as client:
        async with accepting(listening, pour):
            client.connect(("127.0.0.1", find_port(listening)))
            await done.wait()
        assert len(await read_to_the_end(client)) < 10_000_000


async def test_what_a_conversation_raises_is_raised_at_the_end() -> None:
    async def fail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        raise ValueError("no such answer")

    async def send(sent: bytes) -> None:
        listening = listen_on_loopback()
        async with accepting(listening, fail):
            with socket.create_connection(("127.0.0.1", find_port(listening))) as client:
                client.sendall(sent)
                client.shutdown(socket.SHUT_WR)
                await read_to_the_end(client)

    await send(b"")  # it went away, which is nobody's fault
    with pytest.raises(ExceptionGroup, match="conversations failed") as raised:
        await send(b"x")
    assert [repr(fault) for fault in raised.value.exceptions] == ["ValueError('no such answer')"]
