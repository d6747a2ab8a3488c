"""An authorizer on loopback that does what a test says, down to the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson

from tests.listener import accepting, find_port, listen_on_loopback

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Authority:
    """What it was asked, and what it answers next."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.behaviour: Behaviour = answer({"isAuthorized": True})
        self.hung_up = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        self.headers.append({"request": head[0], **headers})
        self.asked.append(orjson.loads(await reader.readexactly(int(headers["content-length"]))))
        doing = asyncio.ensure_future(self.behaviour(writer))
        end = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait((doing, end), return_when=asyncio.FIRST_COMPLETED)
            self.hung_up += end.done()
        finally:
            doing.cancel()
            end.cancel()
            await asyncio.gather(doing, end, return_exceptions=True)


def respond(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Behaviour:
    """One whole answer."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        lines = {"content-length": str(len(body)), "connection": "close", **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + body)
        await writer.drain()

    return behave


def answer(value: object) -> Behaviour:
    """An answer of JSON."""
    return respond(200, orjson.dumps(value), {"content-type": "application/json"})


async def say_nothing(_: asyncio.StreamWriter) -> None:
    """Keep the connection open."""
    await asyncio.Event().wait()


async def drip(writer: asyncio.StreamWriter) -> None:
    """A good answer in single bytes of white space, which never comes to its end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\n \r\n")
        await writer.drain()
        await asyncio.sleep(0.005)


async def pour(writer: asyncio.StreamWriter) -> None:
    """An answer without an end."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def break_off(writer: asyncio.StreamWriter) -> None:
    """Half an answer."""
    writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 22\r\n\r\n{"isAuth')
    await writer.drain()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """No answer at all."""
    writer.close()


async def talk_nonsense(writer: asyncio.StreamWriter) -> None:
    """Not HTTP."""
    writer.write(b"tok tok tok\r\n\r\n")
    await writer.drain()


@asynccontextmanager
async def run_authority() -> AsyncIterator[Authority]:
    """One that runs until the block ends."""
    authority = Authority()
    listening = listen_on_loopback()
    authority.url = f"http://127.0.0.1:{find_port(listening)}/authorize"
    async with accepting(listening, authority.serve):
        yield authority
