"""A subscriber of the crowd leaves no connection behind, whatever the other side does about it."""

from __future__ import annotations

import asyncio

from websockets.utils import accept_key

from tests.faults.clients import Subscriber
from tests.faults.oracle import Books, Want
from tests.listener import accepting, find_port, listen_on_loopback
from tests.served import wait_until_async


async def test_after_a_close_frame_it_does_not_wait_for_the_end_of_the_connection() -> None:
    ended = asyncio.Event()

    async def close_and_stop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What a gateway does that is stopped between its close frame and the close of its socket."""
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.split(": ", 1) for line in request.splitlines()[1:] if line)
        accept = accept_key(headers["Sec-WebSocket-Key"])
        upgraded = f"HTTP/1.1 101 \r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: graphql-ws\r\n\r\n"
        writer.write(upgraded.encode())
        for message in (b'{"type": "connection_ack"}', b'{"type": "start_ack", "id": "s"}'):
            await reader.read(1 << 16)
            writer.write(bytes((0x81, len(message))) + message)
        writer.write(b"\x88\x02" + (4605).to_bytes(2, "big"))
        await reader.read()
        ended.set()
        await asyncio.Event().wait()

    listening = listen_on_loopback()
    async with accepting(listening, close_and_stop):
        subscriber = Subscriber("one", Want(), Books(), lambda: find_port(listening), comes_back=False)
        subscriber.start()
        await wait_until_async(ended.is_set)
        assert subscriber.endings == [("4605", "")]
        await subscriber.stop()
