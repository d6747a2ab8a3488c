"""uvicorn's server, which goes away in steps and keeps quiet about it. Knows uvicorn, the gateway, and signals.

After the first signal: `/readyz` says no at once; for `drain_delay_ms` all is served on, so that load balancers can
notice; then nobody is taken any more and clients are closed in steps; who has not closed when `shutdown_grace_ms` are
over is cut off. A second signal ends the waiting.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from fanout.gateway.admission import Stage
from fanout.gateway.connection import Connection
from fanout.gateway.draining import close_in_steps
from fanout.gateway.gateway import Gateway
from fanout.gateway.http_protocol import HttpProtocol

logger = logging.getLogger("fanout.gateway")

_LOOK_MS = 50
# Of the grace: closing; in the rest clients take what was written and close.
_CLOSING_SHARE = 0.75


class Server(uvicorn.Server):
    """The server of one gateway.

    Args:
        config: uvicorn's, with the gateway's protocol classes.
        gateway: whose clients it serves.
        on_ready: called once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._gateway = gateway
        self._on_ready = on_ready
        self._hurry = asyncio.Event()
        gateway.admission.open_connections = self.server_state.connections

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal came: the first begins the end, the second makes it quick."""
        del sig, frame
        if self.should_exit:
            self._hurry.set()
        self.should_exit = True
        if self._gateway.admission.stage is Stage.SERVING:
            self._gateway.admission.stage = Stage.LEAVING

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again when it is done, which would end the process before the bus has given
        # its lease and buckets back.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Go away as the module's first lines say."""
        settings = self._gateway.settings
        self._gateway.admission.stage = Stage.LEAVING
        logger.info("draining %d clients", len(self._list_open()))
        await self._pause(settings.drain_delay_ms)
        self._gateway.admission.stage = Stage.CLOSING
        self._stop_listening(sockets)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + settings.shutdown_grace_ms / 1000
        within_ms = int(settings.shutdown_grace_ms * _CLOSING_SHARE)
        await close_in_steps(self._list_open, settings.drain_per_second, within_ms, self._pause)
        while self.server_state.connections and loop.time() < deadline and not await self._pause(_LOOK_MS):
            pass
        self._cut_off()
        self.force_exit = True  # nothing is left for uvicorn to wait for
        await super().shutdown(sockets)

    def _list_open(self) -> list[Connection]:
        connections: set[object] = {*self.server_state.connections}
        return [one for one in connections if isinstance(one, Connection) and one.closing is None]

    def _stop_listening(self, sockets: list[socket.socket] | None) -> None:
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.shutdown()  # after the answer that is being made, if there is one

    def _cut_off(self) -> None:
        left: list[object] = [*self.server_state.connections]
        if left and not self._hurry.is_set():
            logger.warning(
                "%d connections had not closed after shutdown_grace_ms (%d) and were cut off",
                len(left),
                self._gateway.settings.shutdown_grace_ms,
            )
        for connection in left:
            if isinstance(connection, Connection | HttpProtocol):
                connection.abort()

    async def _pause(self, ms: int) -> bool:
        """Wait; returns whether a second signal has come."""
        try:
            async with asyncio.timeout(ms / 1000):
                await self._hurry.wait()
        except TimeoutError:
            return False
        return True
