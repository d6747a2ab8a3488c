"""uvicorn's HTTP protocol with an end to waiting: a request that does not come is cut off.

uvicorn has only a keep-alive timeout, which begins after the first answer; a client that sends half a header line
would keep its connection for ever ("slowloris"), and one whose header does not end would fill the memory. One entry of
the wheel per connection, no timer.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fanout.gateway.gateway import Gateway

_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class HttpProtocol(HttpToolsProtocol):
    """An HTTP connection, until it ends or is upgraded.

    A request's header has to be whole `init_timeout_ms` after the connection was made or the last answer was given,
    and its body `request_timeout_ms` later. It goes away at once when its connection is upgraded: it and its parser
    refer to each other, so that every upgrade left 24 objects to the garbage collector.
    """

    gateway: Gateway

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.wheel_slot = -1
        self._unused_bytes = 0  # of which nothing has come yet: a header, its trailer, or the frame of a chunk
        super().connection_made(transport)
        self._expect(self.gateway.settings.init_timeout_ms)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gateway.wheel.cancel(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unused_bytes += len(data)
        super().data_received(data)
        if self._unused_bytes > self.gateway.settings.max_request_header_bytes and not self.transport.is_closing():
            self._refuse("request-header-too-large", _TOO_LARGE)
            return
        # Bytes that begin no request have stopped uvicorn's keep-alive timeout.
        is_idle = self.cycle is None or self.cycle.response_complete
        if self.wheel_slot < 0 and is_idle and self in self.connections:
            self._expect(self.gateway.settings.init_timeout_ms)

    def handle_websocket_upgrade(self) -> None:
        self.gateway.wheel.cancel(self)  # the connection that takes over has its own time
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._expect(self.gateway.settings.init_timeout_ms)

    def on_headers_complete(self) -> None:
        self._unused_bytes = 0
        super().on_headers_complete()
        self._expect(self.gateway.settings.request_timeout_ms)

    def on_body(self, body: bytes) -> None:
        self._unused_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unused_bytes = 0
        super().on_message_complete()
        self.gateway.wheel.cancel(self)  # how long the answer takes is our own affair

    def on_due(self, now_ms: int) -> None:
        """Called by the wheel: the request has not come in time."""
        self._refuse("request-timeout", _TIMEOUT)

    def abort(self) -> None:
        """End the connection without another word."""
        self.transport.abort()

    def _refuse(self, reason: str, answer: bytes) -> None:
        self.gateway.metrics.refusals[reason] += 1
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(answer)
        self.transport.close()

    def _expect(self, within_ms: int) -> None:
        self.gateway.wheel.schedule(self, self.gateway.wheel.now_ms() + within_ms)


def build_http_class(gateway: Gateway) -> type[asyncio.Protocol]:
    """The class for uvicorn's `Config(http=...)` whose connections are those of this gateway."""
    return cast("type[asyncio.Protocol]", type("HttpProtocol", (HttpProtocol,), {"gateway": gateway}))
