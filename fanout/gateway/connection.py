"""One WebSocket connection: bytes in, frames out, and its clock. Knows nothing of GraphQL or filters.

It is an asyncio protocol that uvicorn hands the transport to after the upgrade request. The inbound side is
`websockets`' sans-IO protocol (strict RFC 6455); outbound messages are ready frames written straight to
the transport. No task, queue or timer belongs to a connection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State

from fanout.engine.registry import Write
from fanout.errors import ClientFault
from fanout.gateway.gateway import Gateway, Work
from fanout.gateway.subscriptions import Held
from fanout.gateway.websocket import Handshake, WebSocket
from fanout.model import CloseReason, Identity
from fanout.protocol import (
    PING_FRAME,
    Authorize,
    Close,
    Dialect,
    Effect,
    Send,
    Session,
    Subscribe,
    Unsubscribe,
    cut_close_reason,
    text_frame,
)

logger = logging.getLogger("fanout.gateway")

# What is taken at once of bytes that may be compressed: up to a thousand times as much may come out of it, and what
# waits for its turn waits as it came.
_INFLATED_AT_ONCE_BYTES = 4096

_REASON_OF_FAILURE = {
    CloseCode.PROTOCOL_ERROR: CloseReason.PROTOCOL_ERROR,
    CloseCode.INVALID_DATA: CloseReason.INVALID_TEXT,
    CloseCode.MESSAGE_TOO_BIG: CloseReason.MESSAGE_TOO_BIG,
}


class Connection(asyncio.Protocol):
    """A client's connection from its upgrade request to its end.

    Outgoing bytes: as long as the transport takes them, `write` is the transport's own. When its buffer passes
    a quarter of `max_outgoing_bytes` (`pause_writing`), `write` becomes a bounded one for this connection alone
    and closes it as a slow client at the limit. So nobody pays for the check but those who need it; the buffer
    is bounded by the limit plus one batch. What comes meanwhile for subscriptions with a policy waits in
    `fanout.gateway.backlog`.
    """

    __slots__ = (
        "_fragments",
        "_gateway",
        "_messaged_ms",
        "_next_keep_alive_ms",
        "_pinged_ms",
        "_received_ms",
        "_server_connections",
        "_transport",
        "_websocket",
        "closing",
        "identity",
        "serial",
        "session",
        "subscriptions",
        "wheel_slot",
        "write",
    )

    def __init__(self, gateway: Gateway, server_connections: set[asyncio.Protocol]) -> None:
        self._gateway = gateway
        self._server_connections = server_connections
        self._websocket: Handshake | WebSocket = Handshake(offers_compression=gateway.settings.compression)
        self._fragments: list[bytes] | None = None
        self.session: Session | None = None
        self.identity: Identity | None = None
        self.subscriptions: dict[str, Held] = {}
        self.closing: CloseReason | None = None
        self.wheel_slot = -1

    # What uvicorn and the event loop call

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self._gateway.settings.max_outgoing_bytes // 4)
        self.write: Write = self._transport.write
        # uvicorn waits at shutdown until this set is empty, after calling `shutdown` on each.
        self._server_connections.add(self)
        now_ms = self._gateway.wheel.now_ms()
        self._received_ms = now_ms
        self._messaged_ms = now_ms
        self._pinged_ms = 0
        self.serial = self._gateway.draw_serial(now_ms)
        self._next_keep_alive_ms = 0
        self._gateway.wheel.schedule(self, now_ms + self._gateway.settings.init_timeout_ms)

    def data_received(self, data: bytes) -> None:
        websocket = self._websocket
        self._received_ms = self._gateway.wheel.now_ms()
        self._pinged_ms = 0
        rest = b""
        if websocket.extensions and len(data) > _INFLATED_AT_ONCE_BYTES:
            data, rest = data[:_INFLATED_AT_ONCE_BYTES], data[_INFLATED_AT_ONCE_BYTES:]
        websocket.receive_data(data)
        for event in websocket.events_received():
            if isinstance(event, Frame):
                if self.closing is None:
                    self._gateway.turns.do(self, event)
            else:
                self._upgrade(cast(Request, event))
        self._flush()
        if websocket.close_sent is not None and self.closing is None:
            self._note_end_by_peer()
        if rest:
            self._gateway.turns.do(self, rest)

    def eof_received(self) -> bool:
        if self.closing is None:
            self._websocket.receive_eof()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._gateway.wheel.cancel(self)
        self._server_connections.discard(self)
        if self.closing is None:
            self.closing = CloseReason.NORMAL
            self._gateway.metrics.closes["lost"] += 1
        self._gateway.forget(self)

    def pause_writing(self) -> None:
        self.write = self._write_bounded
        self._gateway.subscriptions.redirect(self)

    def resume_writing(self) -> None:
        if self.write is not _discard:
            self.write = self._transport.write
            if self._gateway.subscriptions.backlogs.flush(self):
                self._gateway.subscriptions.redirect(self)

    def shutdown(self) -> None:
        """Called by the server when it stops."""
        self.close(CloseReason.DRAINING)

    def abort(self) -> None:
        """End the connection without another word."""
        self._transport.abort()

    # What the gateway and the subscriptions call

    @property
    def peer_address(self) -> str:
        """The other end of the TCP connection; a proxy's, if there is one. Known while it is open."""
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if isinstance(peer, tuple) else "unix"

    def handle(self, work: Work) -> None:
        """A frame of the client, what is left to do of one, or bytes with more of them."""
        if self.closing is not None and not isinstance(work, bytes):  # those may hold the answer to our close frame
            return
        try:
            if isinstance(work, Frame):
                self._receive_frame(work)
            elif isinstance(work, bytes):
                self.data_received(work)
            elif isinstance(work, list):
                self.perform(work)
            else:
                work()
        except Exception:  # our defect: this client is told, and all others go on
            logger.exception("a message could not be handled")
            self.close(CloseReason.INTERNAL_ERROR)

    def take_turn(self, work: Callable[[], None]) -> None:
        self._gateway.turns.do(self, work)

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    @property
    def dialect(self) -> Dialect:
        assert self.session is not None
        return self.session.dialect

    @property
    def can_be_sent_deflated(self) -> bool:
        return isinstance(self._websocket, WebSocket) and self._websocket.can_be_sent_deflated

    @property
    def is_slow(self) -> bool:
        """Whether the transport's buffer is over its high-water mark, and the connection not given up."""
        return self.write == self._write_bounded

    @property
    def unsent_bytes(self) -> int:
        return self._transport.get_write_buffer_size()

    def give_up(self) -> None:
        """Write nothing more, and close the connection as a slow client soon."""
        self._gateway.metrics.drops["slow-client"] += 1
        # From here on nothing: what comes after a gap must not arrive.
        self.write = _discard
        self._gateway.subscriptions.redirect(self)
        # Not at once: this runs inside the loop over a group's members.
        self._gateway.close_soon(self, CloseReason.SLOW_CLIENT)

    @property
    def is_congested(self) -> bool:
        """Whether so much is unsent that whoever can wait should; `resume_writing` is called when it is less."""
        return self.is_slow or self.unsent_bytes > self._gateway.settings.max_outgoing_bytes // 4

    def acknowledge(self, id: str, token: int, position: str | None = None) -> None:
        assert self.session is not None
        self.perform(self.session.subscribed(id, token, position))

    def reject(self, id: str, token: int, fault: ClientFault) -> None:
        assert self.session is not None
        self.perform(self.session.rejected(id, token, fault))

    def invalidate(self, ids: Iterable[str]) -> None:
        assert self.session is not None
        self.perform(self.session.invalidated(ids))

    def close(self, reason: CloseReason, detail: str = "") -> None:
        """End the connection with a close frame; nothing more is written to it. Closing twice does nothing."""
        if self.closing is not None:
            return
        self.closing = reason
        self._gateway.metrics.closes[reason.label] += 1
        if self.write is not _discard:
            for frame in self._gateway.subscriptions.backlogs.take_all(self):
                self._transport.write(frame)
        self._gateway.forget(self)
        if self._websocket.state is State.OPEN:
            self._websocket.send_close(reason.code, cut_close_reason(detail or reason.text))
            # Past the bound: one small frame, so that the client can read why once it reads again.
            for data in self._websocket.data_to_send():
                self._transport.write(data)
            self._schedule_cut()
        elif self._websocket.state is not State.CLOSING:
            self._transport.close()
        # Else the client's close frame, or a violation, came in the same read: the answer to it is flushed next.

    def perform(self, effects: list[Effect]) -> None:
        """Do what the session asks for, in order; messages that follow one another are one write.

        Starts that no longer fit into this turn of the event loop are left for the next one.
        """
        frames: list[bytes] = []
        has_started = False
        for index, effect in enumerate(effects):
            if isinstance(effect, Send):
                frames.append(text_frame(effect.message))
                continue
            if frames:
                self.write(b"".join(frames))
                frames.clear()
            match effect:
                case Subscribe():
                    if has_started and self._gateway.turns.is_over:
                        self._gateway.turns.put_back(self, effects[index:])
                        return
                    self._gateway.subscriptions.start(self, effect)
                    has_started = True
                case Unsubscribe(id):
                    self._gateway.subscriptions.end(self, id)
                case Authorize(headers):
                    self.perform(self._gateway.authorize_connection(self, headers))
                case Close(reason, detail):
                    self.close(reason, detail)
        if frames:
            self.write(b"".join(frames))

    # The clock

    def on_due(self, now_ms: int) -> int | None:
        """Called by the wheel: keep alive, ping, or end the connection. Returns when to look again, in ms."""
        settings = self._gateway.settings
        session = self.session
        if self.closing is not None or session is None:
            self._transport.abort()
            return None
        if not session.is_acknowledged:
            self.perform(session.init_timed_out())
            return None  # the session has closed the connection, which has scheduled its own end
        ends_ms = self._gateway.end_of_life_ms(self.serial)
        if now_ms >= ends_ms:
            self.close(CloseReason.LIFETIME)
            return None
        expires_ms = self._gateway.expires_ms(self, now_ms)
        if now_ms >= expires_ms:
            self.perform(session.revoked())
            return None
        active_ms = self._gateway.last_activity_ms(self, self._messaged_ms)
        if now_ms >= active_ms + settings.idle_timeout_ms:
            self.close(CloseReason.IDLE)
            return None
        if self._pinged_ms and now_ms >= self._pinged_ms + settings.pong_timeout_ms:
            self.close(CloseReason.UNRESPONSIVE)
            return None
        if now_ms >= self._next_keep_alive_ms:
            message = session.keep_alive_message()
            if message is not None:
                self.write(text_frame(message))
            self._next_keep_alive_ms = now_ms + settings.keep_alive_interval_ms
        if not self._pinged_ms and now_ms >= self._received_ms + settings.ping_after_silence_ms:
            self.write(PING_FRAME)
            self._pinged_ms = now_ms
        next_ping_ms = (
            self._pinged_ms + settings.pong_timeout_ms
            if self._pinged_ms
            else self._received_ms + settings.ping_after_silence_ms
        )
        next_ms = min(self._next_keep_alive_ms, next_ping_ms, ends_ms, active_ms + settings.idle_timeout_ms)
        return next_ms if next_ms <= expires_ms else int(expires_ms)

    def begin_keep_alive(self) -> None:
        """Called once the connection is authorized, and when it is renewed: from now on the wheel keeps it alive."""
        now_ms = self._gateway.wheel.now_ms()
        self._next_keep_alive_ms = now_ms + self._gateway.settings.keep_alive_interval_ms
        settings = self._gateway.settings
        first_ms = min(settings.keep_alive_interval_ms, settings.ping_after_silence_ms, settings.idle_timeout_ms)
        due_ms = min(
            now_ms + first_ms,
            self._gateway.end_of_life_ms(self.serial),
            self._gateway.expires_ms(self, now_ms),
        )
        self._gateway.wheel.schedule(self, int(due_ms))

    def _schedule_cut(self) -> None:
        self._gateway.wheel.schedule(self, self._gateway.wheel.now_ms() + self._gateway.settings.close_timeout_ms)

    # Inbound

    def _upgrade(self, request: Request) -> None:
        handshake = self._websocket
        assert isinstance(handshake, Handshake)
        if handshake.eof_sent:
            return  # what came right behind the request violates the protocol, and the end is on its way
        self.session = self._gateway.accept(self, handshake, request)
        self._flush()
        if self.session is not None:
            self._websocket = WebSocket(handshake, self._gateway.settings.max_message_bytes)

    def _receive_frame(self, frame: Frame) -> None:
        limits = self._gateway.limits
        if limits.counts_messages:
            excess = limits.receive(self)
            if excess is not None:
                self.close(CloseReason.LIMIT_EXCEEDED, excess.message)
                return
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.CONT:
            data = bytes(frame.data)
            frame.data = b""  # the parser holds on to its last frame: 400 bytes for a usual `start`
            if self._fragments is not None:
                if data:  # empty ones count for no limit
                    self._fragments.append(data)
                if not frame.fin:
                    return
                data = b"".join(self._fragments)
                self._fragments = None
            elif not frame.fin:
                self._fragments = [data]
                return
            self._receive_text(data)
        elif opcode is Opcode.BINARY:
            self.close(CloseReason.BINARY_MESSAGE)

    def _receive_text(self, data: bytes) -> None:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            self.close(CloseReason.INVALID_TEXT)
            return
        # Not every byte counts as activity: browsers answer our pings by themselves.
        self._messaged_ms = self._received_ms
        session = self.session
        assert session is not None
        dialect = session.dialect
        effects = session.receive(text)
        if session.dialect is not dialect:
            self._gateway.note_dialect(self, session.dialect.name)
        self.perform(effects)

    # Outbound

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self.write(data)
            else:
                # Half-close and let the peer finish: closing at once could reset the connection before it has
                # read our close frame. The wheel ends it if the peer does not.
                if self._transport.can_write_eof():
                    self._transport.write_eof()
                    self._schedule_cut()
                else:
                    self._transport.close()

    def _write_bounded(self, data: bytes) -> None:
        waiting_bytes = self.unsent_bytes + self._gateway.subscriptions.backlogs.count_bytes(self)
        if waiting_bytes + len(data) > self._gateway.settings.max_outgoing_bytes:
            self.give_up()
            return
        self._transport.write(data)

    def _note_end_by_peer(self) -> None:
        websocket = self._websocket
        if websocket.close_rcvd is not None:
            self.closing = CloseReason.NORMAL
            self._gateway.metrics.closes["client"] += 1
        else:
            assert websocket.close_sent is not None
            self.closing = _REASON_OF_FAILURE.get(CloseCode(websocket.close_sent.code), CloseReason.INTERNAL_ERROR)
            self._gateway.metrics.closes[self.closing.label] += 1
        self._gateway.forget(self)


def _discard(data: bytes) -> None:
    """The write function of a connection that was too slow, until it is closed."""
