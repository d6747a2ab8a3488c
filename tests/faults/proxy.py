"""A TCP proxy between gateways and Redis, to cut or stall the connections of one of them, or to move the address.

It runs on the test's event loop. Knows nothing of what passes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.listener import accepting, find_port, listen_on_loopback


class Proxy:
    """Listens on a free port and passes bytes on.

    Args:
        target_port: on loopback; can be changed, for connections that are opened from then on.
        tls: what is said to clients; the target is spoken to in plain.
    """

    def __init__(self, target_port: int, tls: ssl.SSLContext | None = None) -> None:
        self.target_port = target_port
        self._tls = tls
        self.port = 0
        self._flows = asyncio.Event()
        self._flows.set()
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def is_used(self) -> bool:
        """Whether anybody is connected."""
        return bool(self._writers)

    def cut(self) -> None:
        """Break all connections; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    def refuse(self) -> None:
        """Break all connections, and every new one, until `accept`."""
        self._refuses = True
        self.cut()

    def accept(self) -> None:
        self._refuses = False

    def stall(self) -> None:
        """Let nothing pass any more, in either direction, and break nothing."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            if self._refuses:
                return
            await self._flows.wait()
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
            self._writers.add(target_writer)
            try:
                async with asyncio.TaskGroup() as pumps:
                    pumps.create_task(self._pump(reader, target_writer))
                    pumps.create_task(self._pump(target_reader, writer))
            finally:
                self._writers.discard(target_writer)
                target_writer.transport.abort()
        except OSError:
            pass  # nobody there: as without a proxy
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while chunk := await source.read(1 << 20):
                await self._flows.wait()
                target.write(chunk)
                await target.drain()
        except OSError:
            pass
        finally:
            target.transport.abort()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        listening = listen_on_loopback()
        self.port = find_port(listening)
        async with accepting(listening, self._serve, tls=self._tls, limit=1 << 20):
            yield self
