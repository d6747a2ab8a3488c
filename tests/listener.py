"""Listening in the test's own process: whatever was accepted is closed when the block ends, at whatever moment that is.

`asyncio.start_server` leaves that to luck. Its `close` forgets connections that were accepted and have not been shown
to the handler yet, `wait_closed` of Python 3.11 returns at once, and a handler's task that is cancelled before its
first step closes nothing. Knows nothing of what is said.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def listen_on_loopback() -> socket.socket:
    """A socket that listens on a free port."""
    return socket.create_server(("127.0.0.1", 0))


def find_port(listening: socket.socket) -> int:
    return int(listening.getsockname()[1])


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells when the transport is done with its socket; `StreamWriter.wait_closed` can be cancelled only once."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(reader)
        self.lost = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.lost.set()


class _Acceptor:
    """Every accepted socket belongs to one task, in the same step in which it is accepted."""

    def __init__(self, listening: socket.socket, converse: Converse, tls: ssl.SSLContext | None, limit: int) -> None:
        self._listening = listening
        self._converse = converse
        self._tls = tls
        self._limit = limit
        self.tasks: set[asyncio.Task[None]] = set()
        self.faults: list[Exception] = []

    def accept(self) -> None:
        try:
            accepted, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # who asked has gone
        accepted.setblocking(False)
        task = asyncio.create_task(self._serve(accepted))
        self.tasks.add(task)
        task.add_done_callback(lambda task: self._on_done(task, accepted))

    async def _serve(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(self._limit)
        protocol = _Protocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, accepted, ssl=self._tls)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._converse(reader, writer)
            writer.close()
            await protocol.lost.wait()
        finally:
            if not protocol.lost.is_set():
                transport.abort()
                await protocol.lost.wait()

    def _on_done(self, task: asyncio.Task[None], accepted: socket.socket) -> None:
        self.tasks.discard(task)
        accepted.close()  # of a task that has not begun nobody else knows; otherwise it is closed already
        if task.cancelled():
            return
        match task.exception():
            case None | OSError() | EOFError():
                pass  # the other side broke it off
            case Exception() as fault:
                self.faults.append(fault)


@asynccontextmanager
async def accepting(
    listening: socket.socket, converse: Converse, *, tls: ssl.SSLContext | None = None, limit: int = 1 << 16
) -> AsyncIterator[None]:
    """Accept connections until the block ends; then none of them is open, no task runs, and the socket is closed.

    Args:
        listening: its owner is this block from here on.
        converse: a task per connection, which is closed when it returns and what it wrote is sent. It is cancelled at
            the end of the block.
        tls: what is said to clients.
        limit: of the readers, in bytes.

    Raises:
        ExceptionGroup: at the end of the block, of what conversations raised other than that the peer went away.
    """
    loop = asyncio.get_running_loop()
    acceptor = _Acceptor(listening, converse, tls, limit)
    listening.setblocking(False)
    loop.add_reader(listening, acceptor.accept)
    try:
        yield
    finally:
        loop.remove_reader(listening)
        listening.close()
        for task in acceptor.tasks:
            task.cancel()
        if acceptor.tasks:
            await asyncio.wait(acceptor.tasks)
    if acceptor.faults:
        raise ExceptionGroup("conversations failed", acceptor.faults)
